"""What a run's answers are worth. The ground floor: it sees arrays and prediction tables, never a run or a file.

A *prediction table* has one row per image: ``image_id``, ``part`` (train, validation or test), ``label``, and for every
class a ``score_<class>`` (softmax output) and a ``logit_<class>``. ``metrics`` measures one table, ``comparison``
several.
"""
