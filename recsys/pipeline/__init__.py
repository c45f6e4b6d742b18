"""From a dataset to one trained version: the whole way of the data, in the order it flows.

::

    dataset --> catalogue, events --> interactions --> collaborative --+
       |                                                 |  ^          |
       |                                                 |  | features, if set
       +------> documents -----------------------> text -|--+----------+--> bundle
       |                                                 v  |          |
       +------> recordings ------------> audio ---> network +----------+
                                                                       |
            base, tune --> all models --> candidates --> blend --------+
                                blend slice ---------------^

Enters: a `Dataset`, a `Config`, a `Backend`. Leaves: a version in `Models`. A model is trained when
the dataset has data for it; what was left out, and why, stands in the bundle's facts. With
``collaborative.features`` labels, text and audio draw the items' vectors too. The network learns
from the factors to hear where an item lies; where audio is such a feature, the factors are then
trained once more, drawn to what networks say that have never met the item's artist. A retraining
starts from the version that serves, so that neighbours, and maps learned on its vectors, stay
stable. How much to believe each signal is learned once, on what listeners loved in the blend slice,
from models that saw only what was before it; the version itself is trained on every event.

source.py reads, content.py finds out about items, training.py trains factors and networks,
blending.py learns the blend, building.py makes the version.
"""

from recsys.pipeline.blending import learn_blend
from recsys.pipeline.building import assemble, build, check_names, note_exact
from recsys.pipeline.content import MODEL_NAMES, Content, Hearing
from recsys.pipeline.source import Source, evidence_of, evidence_times, read_source
from recsys.pipeline.training import IDLE_KEYS, learn_to_hear, training_key

__all__ = [
    "IDLE_KEYS",
    "MODEL_NAMES",
    "Content",
    "Hearing",
    "Source",
    "assemble",
    "build",
    "check_names",
    "evidence_of",
    "evidence_times",
    "learn_blend",
    "learn_to_hear",
    "note_exact",
    "read_source",
    "training_key",
]
