"""DPO, next to cached reference log-probabilities.

- `dpo`: Retrain the reference with DPO on one arm's pairs
- `trainer`: TRL's DPO trainer, fed by our cache and watched at every step
- `tokens`: An arm's pairs as token ids in a file that is mapped
- `reference_logps`: The reference's log-probability of every completion, computed once and shared
- `checkpoints`: Checkpoints that are, to the byte, what was written
- `import_checkpoint`: A checkpoint that was trained elsewhere, taken in as an arm's result
"""
