# RED-diff (Mardani et al., ICLR 2024): a missing rectangle. It fits one picture, not a sample of a posterior; --samples
# averages the jitter of Adam.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="BoxInpainting", share=0.4)
guidance = dict(type="REDDiff", lr=0.1, grad_term_weight=0.25, obs_weight=1.0)
