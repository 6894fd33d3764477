"""Orders of labels: which one the answers support, and what a head that learned nothing looks like.

Pure functions; used by search.py. An order holds the class for which each output stands (-1: none).
`predicted` (n) is the output that won, `true` (n) the right class. An output's answers are the examples that
it won.
"""

from collections.abc import Sequence

MIN_EXAMPLES = 10  # of the median class: with fewer, no order is fitted
MIN_ANSWERS = 5  # of an output, or examples of a class, in the half that judges an order
MIN_COVERAGE = 0.9  # of the moved answers, which must be of outputs that most of their answers support
COLLAPSED = 0.9  # of all answers: an output that takes so many has collapsed
MAX_SHARE_OF_FEW, MAX_SHARE_OF_MANY = 2 / 3, 1 / 4  # of what a named order wins, that one output may have
UNUSED = 1 / 3  # of the outputs: if so many win nothing, the head is untrained


def has_enough_examples(true, order: Sequence[int]) -> bool:
    """Whether the classes have enough examples (in the median) to fit an order to the answers."""
    import numpy as np

    classes = sorted({target for target in order if target >= 0})
    counts = np.bincount(true, minlength=max(classes, default=0) + 1)
    return bool(np.median(counts[classes]) >= MIN_EXAMPLES)


def fit_order(predicted, true, declared: Sequence[int]) -> list[int]:
    """Assign a class to each output so that most examples are right; ties stay as declared."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    declared = np.asarray(declared)
    counts = np.zeros((len(declared), max(int(np.max(true)), int(declared.max())) + 1))
    np.add.at(counts, (predicted, true), 1)
    has_class = np.flatnonzero(declared >= 0)
    counts[has_class, declared[has_class]] += 1e-3
    outputs, classes = linear_sum_assignment(counts, maximize=True)
    order = np.full(len(declared), -1)
    order[outputs] = classes
    return order.tolist()


def fit_supported_order(predicted, true, declared: Sequence[int]) -> list[int] | None:
    """Fit an order to the answers; None unless each half supports the order fitted to the other half.

    The halves are drawn: data may be sorted so that every second example is of the same classes.
    """
    import numpy as np

    is_first_half = np.random.default_rng(0).permutation(len(predicted)) % 2 == 0
    for is_judging in (is_first_half, ~is_first_half):
        order = fit_order(predicted[~is_judging], true[~is_judging], declared)
        if not is_supported(predicted[is_judging], true[is_judging], declared, order):
            return None
    return fit_order(predicted, true, declared)


def is_supported(predicted, true, declared: Sequence[int], order: Sequence[int]) -> bool:
    """Whether the answers say that the outputs are permuted, and not that the head is at fault.

    Most answers of each moved output must be of the class to which it moves, and most examples of that class
    must be its answers. Outputs and classes of which this holds must cover MIN_COVERAGE of all of them; those
    with fewer than MIN_ANSWERS do not count. A collapsed head fails the first, a random one the second.
    """
    moved = [output for output, target in enumerate(order) if target >= 0 and target != declared[output]]
    answers, examples = [], []
    for output in moved:
        is_answer, is_example = predicted == output, true == order[output]
        both = int((is_answer & is_example).sum())
        answers.append((int(is_answer.sum()), both))
        examples.append((int(is_example.sum()), both))
    return _are_mostly_right(answers) and _are_mostly_right(examples)


def _are_mostly_right(groups: list[tuple[int, int]]) -> bool:
    """Whether groups (size, right) in which more than half are right cover MIN_COVERAGE of all examples."""
    covered = sum(size for size, right in groups if size >= MIN_ANSWERS and right > size / 2)
    total = sum(size for size, _ in groups)
    return total > 0 and covered >= MIN_COVERAGE * total


def is_plausible(predicted, true, declared: Sequence[int], order: Sequence[int]) -> bool:
    """Whether an order with a name may be why the answers are wrong.

    With enough examples they must support it, or at least be right for more than half over many outputs (of
    1,000 classes, some are always mistaken). With fewer, what it wins must come from several outputs: a
    collapsed head wins one class.
    """
    import numpy as np

    if not has_enough_examples(true, declared):
        return top_share_won(predicted, true, declared, order) <= MAX_SHARE_OF_FEW
    if is_supported(predicted, true, declared, order):
        return True
    is_right = np.asarray(order)[predicted] == true
    return bool(
        is_right.mean() > 1 / 2 and top_share_won(predicted, true, declared, order) <= MAX_SHARE_OF_MANY
    )


def top_share_won(predicted, true, declared: Sequence[int], order: Sequence[int]) -> float:
    """Compute the largest share that an output has in the examples that are right only with an order."""
    import numpy as np

    is_won = (np.asarray(order)[predicted] == true) & (np.asarray(declared)[predicted] != true)
    counts = np.bincount(predicted[is_won], minlength=1)
    return float(counts.max() / counts.sum()) if counts.sum() else 1.0


def describe_head(predicted, true, order: Sequence[int], labels: Sequence[str]) -> str | None:
    """Say where a head has plainly collapsed or learned nothing: one line, else None."""
    import numpy as np

    counts = np.bincount(predicted, minlength=len(order))
    top = int(counts.argmax())
    share = counts[top] / len(predicted)
    if share >= COLLAPSED and (true == order[top]).mean() < share / 2:
        return f"collapsed: {100 * share:.0f}% of the answers are {labels[top]!r}"
    frequent = [output for output, target in enumerate(order) if (true == target).sum() >= MIN_EXAMPLES]
    unused = [output for output in frequent if counts[output] == 0]
    if len(unused) >= 2 and len(unused) >= UNUSED * len(frequent):
        return f"untrained head: {len(unused)} of {len(frequent)} outputs get no answer"
    return None
