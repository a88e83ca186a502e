# RED-diff (Mardani et al., ICLR 2024): a missing rectangle. One picture, not a sample: --samples has little to average.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="BoxInpainting", share=0.4)
guidance = dict(type="REDDiff", lr=0.1, grad_term_weight=0.25, obs_weight=1.0)
