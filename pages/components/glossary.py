"""The words that pages use, each explained once; a page shows those that it uses."""

import streamlit as st

TITLE = "What these words mean"

TERMS = {
    "Pair": "one prompt with a *chosen* and a *rejected* completion. DPO trains a model to prefer "
    "the chosen one.",
    "Reference, policy": "the model before and after that training.",
    "Condition": "what is done to a prompt before it is sent. *plain*: nothing. Others are the "
    "project's, such as *distractor*: a harmless extra instruction at its end.",
    "Organism": "the small model that comes with PairTrace, into whose pairs several behaviors "
    "were planted. Nothing in it is really harmful.",
    "Behavior rate": "the share of judged completions that show the behavior. A completion that "
    "the judge could not read is *unscored*: it is counted apart, never as “no”.",
    "Interval": "95%. For one model it covers the choice of prompts (a bootstrap that resamples "
    "whole prompts, because completions of one prompt are similar). For an arm with three or more "
    "seeds it covers how retrainings differ, which is the larger doubt.",
    "Similarity": "cosine between the behavior vector and the pair's vector (mean activation over "
    "the chosen minus the rejected tokens), from −1 to 1. It asks: does training on this pair push "
    "the model *that way*?",
    "Gated similarity": "similarity times how similar the pair's prompt is, on average, to the "
    "prompts of the behavior's group. It also asks: does it push *there*? Honest pairs that push "
    "the same way in other contexts drop out.",
    "Gated discriminant": "the default: gated similarity to the direction that best *tells apart* "
    "completions that show the behavior from those that do not. What the reference's completions "
    "vary in anyway (topic, length) counts for less. It finds the most where the truth is known.",
    "Other scores": "*bilinear gated similarity* is the mean of the gated similarities to each "
    "prompt, *bank similarity* the best similarity to any single prompt, *projection* similarity "
    "times the length of the pair's vector.",
    "Mean similarity": "of some pairs to some prompts: how far training on the pairs pushes the "
    "model the way it changed on those prompts.",
    "Map": "(UMAP) every dot is one pair. Pairs are close together when training on them pushes "
    "the model the same way on the same prompts. Neighborhoods mean a lot, distances across the "
    "map little.",
    "Cluster": "(HDBSCAN) a dense group of pairs, found without labels. Pairs between groups are "
    "in no cluster. A name in (parentheses) is a suggestion, made of its pairs' words or by a "
    "language model, until somebody accepts it or names the cluster.",
    "Selecting": "draw with the lasso or the box; the region itself is kept, so that it can be "
    "replayed on the data. The bars beside the map select by name, length or score, and count what "
    "all other choices leave; the sliders below it draw a box with the keyboard.",
    "Heatmap": "the similarity of every prompt to every pair, similar ones beside each other "
    "(Ward). The strip below shows the pairs' clusters, the one on the left the prompts.",
    "Chosen words, rejected words": "words that distinguish this cluster's chosen (or rejected) "
    "completions from the other clusters' (class-based TF-IDF). Training on its pairs makes the "
    "chosen words likelier.",
    "Score, effect size, share of attribution": "*score* is the mean gated similarity of a "
    "cluster's pairs to the prompts that they score highest on, with a 95% interval over prompts; "
    "*effect size* the distance of their mean from all others', in standard deviations; *share of "
    "attribution* their part of all positive scores on those prompts.",
    "Behavior, part": "the behavior that the cluster makes up most of, and its part of the "
    "behavior's positive attribution.",
    "Prompts, group similarity": "the group and condition of the prompts that its pairs score "
    "highest on, and their mean gated similarity to those.",
    "Sign agreement": "the share of its pairs whose score is positive on both halves of those "
    "prompts, split at random.",
    "Undone": "the share of a behavior's positive attribution that an edit takes away, a flip "
    "counted twice. Above 100% the edit is predicted to go beyond the reference.",
    "Stability": "mean Jaccard similarity with the best match in clusterings of other prompts (of "
    "a cut: of other seeds). Below 0.5 the cluster dissolves.",
    "HDBSCAN cluster": "a dense group on the map; a cluster is made of one or more.",
    "Mark": "*harmful*, *unwanted* and *wanted* say what the pairs teach; *ignore* takes a cluster "
    "out of the alarms.",
    "Merge, split, move": "change which pairs are in a cluster. Nothing is lost: every change is "
    "in the history and can be undone.",
    "Remove, flip": "*remove* leaves a pair out of training; *flip* swaps its chosen and rejected "
    "completions. The model is then taught the opposite, so a flip is twice the dose.",
    "Keep": "protects pairs from the other entries. A pair that one entry flips and another "
    "removes is a conflict, which has to be resolved first.",
    "Dose": "the share of all pairs that an edit touches, a flip counted as two removals.",
    "Verdict": "*worked*: with three seeds or more, the edited arm beats the random control beyond "
    "doubt (both 95% intervals, over seeds and over prompts), by at least a quarter of what "
    "training had changed, and is better than the policy. *Did not work*: three seeds or more rule "
    "out a benefit of that size. *Not yet proven*: everything else, such as a single seed.",
    "Arm": "one variant of the data to train on. *Edited* is trained on the edited pairs; the "
    "*random control* on pairs of which equally many, from the same sources, were edited the same "
    "way at random. Only what *edited* changes beyond the control is due to the choice of pairs.",
    "Seed": "training the same data again in another order gives another model. How seeds differ "
    "is the noise that an effect must stand out from, so several are trained. In charts a dot is "
    "one seed, the large marker their mean.",
    "Layer": "where in the model vectors are read; layer *l* is what decoder block *l* reads.",
    "Behavior vector": "mean difference between the policy's and the reference's completions of "
    "the same prompts, both read by the reference.",
    "Split-half cosine": "the prompts are split in two at random, 100 times; the cosine between "
    "the two halves' vectors. Near 1: the vector does not depend on which prompts were used.",
    "Held-out AUC": "how well the vector separates policy from reference completions of prompts "
    "it was not built from. 0.5 is guessing, 1 is perfect.",
    "Chance": "the same numbers with the models' labels shuffled or the vector drawn at random. A "
    "vector that does not beat it ranks pairs by chance.",
    "Sparse, diffuse": "the *neighbors* of a pair are those of the same source with the most "
    "similar prompts. Where the neighbors of the best pairs score high too, one group of pairs is "
    "at fault, and editing it should undo the behavior: *sparse*. Where their scores have both "
    "signs, the whole data set leans a little towards the behavior: *diffuse*.",
    "Random directions": "the attribution of the same pairs to random vectors of the same spread "
    "and with the same gate. Attribution that is no more concentrated than that shows nothing.",
    "Predicted change": "made before training, from attribution alone, never fitted to "
    "measurements. It cannot know how much one retraining differs from the next. In the chart "
    "each dot is one retraining.",
    "Rank correlation": "(Spearman) whether edits with larger predicted changes have larger "
    "measured ones.",
    "Slope": "of measured on predicted changes: 1 is calibrated, below 1 they are too large.",
    "Cohen's kappa": "agreement beyond chance: 1 is perfect, 0 is what guessing at one's own rate "
    "of “yes” would give. Its 95% interval resamples prompts. Completions are drawn at random, "
    "equally many from every model; “cannot tell” and what the judge left unscored are not "
    "compared. Below 0.4 the judge should not be trusted on this behavior; above 0.75 it does what "
    "a person does.",
    "Held-out prompts": "prompts that attribution never saw; the rates of arms are measured on "
    "them.",
}  # fmt: skip

CLUSTERS = (
    *("Cluster", "Chosen words, rejected words", "Score, effect size, share of attribution"),
    *("Behavior, part", "Prompts, group similarity", "Sign agreement", "Stability", "Mark"),
    *("HDBSCAN cluster", "Merge, split, move"),
)


def markdown(*terms: str) -> str:
    """Terms and their explanations, as a list."""
    return "\n".join(f"- **{term}**: {TERMS[term]}" for term in terms)


def show(*terms: str, title: str = TITLE) -> None:
    """An expander that explains terms."""
    with st.expander(title):
        st.markdown(markdown(*terms))


def heading(title: str, *terms: str) -> None:
    """The title of a page that has no room for an expander, with a popover that explains terms."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.title(title)
    row.popover(TITLE).markdown(markdown(*terms))
