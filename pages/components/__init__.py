"""Parts that pages share, then those of one page, by page.

- `cache`: What pages read
- `pickers`: Choices that several pages offer, kept in the URL so that a copied link restores them
- `plan`: The steps of an investigation up to retraining, as the project asks for them
- `theme`: Colors that mean something, the same on every page and legible on light and dark
- `rates`: What the judge's flags are called where people read them
- `enrichment`: Which sources and which models' completions stand out among selected pairs, and the
- `arm_table`: What the arms of one edit measured, arranged for looking
- `lazy`: Expanders that draw nothing while they are closed
- `shortcuts`: Keyboard shortcuts
- `glossary`: The words that pages use, each explained once
- `access`: Who is at this browser, and what they may do
- `cart`: The edit cart
- `completions`: What two models wrote after the same prompt, side by side, with the behavior's
- `jobs`: A step on a page
- `region`: The region that was drawn on a map, and the part of the map that is looked at
- `selection`: Which pairs a recipe selects and what an edit would do, asked of `core`, kept in
- `text`: Text that others wrote, shown as text
- `scoreboard`: Which method finds the pairs at fault, where that is known, and what each costs
- `map`: Parts of the map
- `clusters`: Parts of the Clusters page
- `rank`: Parts of the Rank page
- `intervene`: Parts of the Intervene page
- `results`: Parts of the Results page
- `setup`: Parts of the Set up page
"""
