"""Preference pairs, prompts and completions.

- `chat`: conversations in a text cell
- `trl_formats`: one row of a preference set, in any of TRL's shapes, as a pair
- `schema`: column types, and limits on texts and columns
- `parquet`: Parquet in batches of bounded memory
- `readers`: rows of a data file of any format
- `pairs`: the usable pairs of a file, and the reasons for the others
- `quality`: preview, size and health of a preference set
- `canonical`: the Parquet form in which pairs are stored
- `pair_table`: memory-mapped columns of the pairs
- `completions`: completions from a file, in place of generated ones or as examples
- `prompts`: prompts from a file
- `conditions`: what is done to a prompt before it is sent
- `search`: phrase, regular expression and BM25 search
- `tokens`: token ids under the tokenizer's chat template
"""
