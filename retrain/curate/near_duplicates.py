"""Near duplicates: one user's verdict of one kind on nearly the same text under nearly the same
question. The newest stays.

What several users say alike is agreement and stays, however alike: it counts once a user.

Texts are alike when they share ALIKE of their terms (`retrain.terms`; Jaccard, found by prefix
filtering) and have the same numbers and names. Measured on 120 questions and a person's other
wording of each, and 26 pairs of questions of one conversation, which are about one topic and not
the same: the terms tell them apart with an area under the curve of 0.995, TF-IDF over 3- to 5-grams
of characters with 0.993, mean-pooled hidden states of the built-in model with 0.80 to 0.98,
depending on the layer. Against ten pairs that differ in the one word that matters (on and off,
adults and children) it is 0.51, 0.44 and 0.002 to 0.20: a model's states find "turn it on" and
"turn it off" nearer to each other than two wordings of one question, and to drop one of those would
lose what it teaches. So embeddings, which take a pass of the model besides, have no say, and ALIKE
is high: at 0.85 (0.8; 0.7) it finds 24 % (30 %; 41 %) of the other wordings, none of the 26 pairs,
and of the ten none (none; six).
"""

from collections import defaultdict

from retrain.curate._outcome import Outcome
from retrain.parts import on_reasoning
from retrain.rows import Row, completion, judged, picked
from retrain.terms import Terms, exact, near, terms
from serve.settings import Settings

ALIKE = 0.85

Said = tuple[str, ...]


def apply(rows: list[Row], settings: Settings) -> Outcome:
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    said = [_said(row) for row in rows]
    for index in reversed(range(len(rows))):  # rows come oldest first
        groups[_group(rows[index], said[index])].append(index)
    stay = set()
    for members in groups.values():
        leaders = near([_tagged(said[index]) for index in members], ALIKE)
        stay |= {members[place] for place in leaders}
    kept = [row for index, row in enumerate(rows) if index in stay]
    gone = len(rows) - len(kept)
    return Outcome(kept, {"said nearly so before by the same user": gone} if gone else {})


def _said(row: Row) -> Said:
    """The question, and the texts that the verdict is about, in the order of the verdict."""
    if pick := picked(row):
        texts = [pick[0]["text"], *sorted(c["text"] for c in pick[1])]
    else:
        texts = sorted(c["text"] for c in judged(row))
    if row["kind"] == "correction":
        texts = [row["payload"]["text"]]
    elif on_reasoning(row) and (about := completion(row)):
        texts.append(about["reasoning"]["text"])
    return ("\n".join(m["content"] or "" for m in row["messages"]), *texts)


def _group(row: Row, said: Said) -> tuple[object, ...]:
    """Equal for rows that only their wording tells apart."""
    decided = row["payload"].get("value"), "pick" if picked(row) else row["payload"].get("chosen")
    who = (row["split"], row["user_id"], row["kind"], on_reasoning(row))
    return (*who, *decided, len(said), *map(exact, said))


def _tagged(said: Said) -> Terms:
    """The terms of all texts, each marked by its place."""
    return frozenset(f"{place}:{term}" for place, text in enumerate(said) for term in terms(text))
