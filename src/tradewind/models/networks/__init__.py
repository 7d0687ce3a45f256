"""Networks: what they read, how they learn, what they are made of. Everything here imports PyTorch (extra ``deep``)."""
