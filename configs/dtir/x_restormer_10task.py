# The X-Restormer backbone is not registered yet: until it is, this trains NAFNet in X-Restormer's place.
_base_ = "nafnet_10task.py"
