"""transformers: MambaMixer as it runs on a CPU, where none of the authors' CUDA kernels are (its slow path)."""

from mamba_task import main, say
from transformers import MambaConfig, __version__
from transformers.models.mamba.modeling_mamba import MambaMixer

if __name__ == "__main__":
    config = MambaConfig(hidden_size=256, state_size=16, conv_kernel=4, expand=2, num_hidden_layers=1)
    answer, _, _ = main(MambaMixer(config, layer_idx=0), __version__, runs=1)
    say(answer)
