"""Preference pairs, prompts and completions.

- `formats`: What a file is by its first bytes, so that one with another's name is told as what it
- `readers`: JSON lines, one object per line, read so that a bad line costs that line and nothing
- `parquet`: Parquet, some rows at a time, from a file that may have been made to fill the memory
- `limits`: What no file of ours can hold
- `schema`: Rows to columns, a chunk at a time
- `trl_formats`: One row of a preference set, whatever its shape, as `uid, prompt, chosen
- `chat`: A text that is a conversation
- `pairs`: Read and write preference pairs, in any shape that core.data.trl_formats knows
- `canonical`: Parquet files of our own
- `pair_table`: The usable pairs of a file, on disk, read one column or a few rows at a time
- `convert`: Copy a preference set of any shape into one Parquet file in our own form, in constant
- `quality`: What is wrong, or odd, with a preference set
- `completions`: Completions that exist already, read in the place of generating them
- `prompts`: Prompts that may show a behavior, and the text that is sent under a condition
- `scenarios`: Prompts from scenario files (YAML) and from plain text, as rows of a prompt file
- `search`: Find texts
- `tokens`: Prompts and completions as token ids, under the tokenizer's own chat template
"""
