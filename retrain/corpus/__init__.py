"""Cold start: from a folder of documents to a domain dataset, one file a stage.

| stage | reads | writes |
| --- | --- | --- |
| `extract` | files, folders, a query | `documents.jsonl`: text, and its blocks as spans of it |
| `segment` | documents | `units.jsonl`: passages, each with its source and span |
| `generate` | units | `answers.jsonl`: what a teacher wrote about them, of one kind or several |
| `check` | answers and units | `rows.jsonl`, `dropped.jsonl` with the reason, `review.jsonl` |
| `check --verdict` | the same | and `verdicts.jsonl`: what the teacher says of those left |
| `write` | rows | `dataset/`: the forms that trainers read, train and held out |
| `report` | all of these | `report.html`, for people |

Each writes readable JSON Lines into one folder, beside `STAGE.json` with what it did, and
`STAGE.log.jsonl` with what became of each input. A killed stage goes on after its last whole input
(see `retrain.corpus.stage`).
"""
