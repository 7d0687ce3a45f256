"""transformers: GPT2Model on the patches of `gpt_patches`, with the same head, in a bare training loop."""

from networks_task import Head, main
from torch import nn
from transformers import GPT2Config, GPT2Model, __version__


class OverPatches(nn.Module):
    def __init__(self, sizes, own):
        super().__init__()
        self.bars, self.stride = own["patch_bars"], own["stride_bars"]
        spare = sizes["length"] - self.bars
        self.first, count = spare % self.stride, spare // self.stride + 1
        self.embed = nn.Linear(sizes["inputs"] * self.bars, own["width"])
        config = GPT2Config(
            vocab_size=1,
            bos_token_id=0,
            eos_token_id=0,
            n_positions=count,
            n_embd=own["width"],
            n_layer=own["layers"],
            n_head=own["heads"],
            resid_pdrop=own["dropout"],
            embd_pdrop=own["dropout"],
            attn_pdrop=own["dropout"],
            use_cache=False,
            attn_implementation="sdpa",
        )
        self.blocks = GPT2Model(config)
        self.head = Head(sizes, own["width"])

    def forward(self, values, statics, future):
        patches = values[:, self.first :].unfold(1, self.bars, self.stride).flatten(2)
        states = self.blocks(inputs_embeds=self.embed(patches)).last_hidden_state
        return self.head(states[:, -1], statics, future)


main({"gpt_patches": OverPatches}, {"transformers": __version__})
