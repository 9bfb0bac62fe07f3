"""DPO training of arms.

- `dpo`: DPO on one arm's pairs, from the reference
- `trainer`: TRL's DPO trainer, whose loss it is, with cached reference log-probabilities
- `packed_pass`: The policy's log-probabilities in one packed pass, in place of TRL's padded one
- `tokens`: An arm's pairs as memory-mapped token ids, and cached log-probabilities of them
- `checkpoints`: Training checkpoints: checksums, disk space, and import from elsewhere
"""
