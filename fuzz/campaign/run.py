"""A campaign on this machine: engine, seeds, workers, budget, then the corpus pruned and the crashes harvested."""

from __future__ import annotations

import errno
import resource
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..errors import explain_os_error
from ..findings import SaveError
from ..tiers.base import Interrupted
from .afl import afl_birth
from .corpus import Corpus
from .crew import Crew, Worker, disk_problem, libfuzzer_birth
from .engines import Engine, find_engine
from .harvest import Harvested, explain_save, harvest, save
from .inbox import Inbox
from .merge import MergeError, merge
from .plan import Observer, Outcome, Plan, Silent, WorkerRow
from .seeds import seeds_of
from .sift import sift

_TICK_SECONDS = 0.25
_DISK_LOOK_SECONDS = 2.0
# An engine that nobody stops ends by itself soon after the budget.
_SLACK_SECONDS = 10.0
# What shrinking all findings may take: a share of the budget, within bounds.
_HARVEST_SHARE = 0.5
_HARVEST_SECONDS_MIN, _HARVEST_SECONDS_MAX = 5.0, 120.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def campaign(plan: Plan, observer: Observer | None = None) -> Outcome:
    """
    Runs a campaign with local workers.

    Raises:
        UserError: something has to be installed or named differently first.
        OSError: the corpus folder cannot be made or written to.
    """
    show = observer or Silent()
    engine = find_engine(plan.engine, plan.fuzz_target, sanitize=plan.sanitize, core=plan.core)
    # One input at a time, and merging, is what libFuzzer's binaries can do.
    judge = engine
    if engine.style == "afl":
        judge = find_engine("libfuzzer", plan.fuzz_target, sanitize=plan.sanitize, core=plan.core)
    outcome = Outcome(engine.name)
    corpus = Corpus(Path(plan.corpus).resolve()).make()
    inbox = Inbox(corpus.path.with_name(f"{corpus.path.name}-crashes"))
    show.begin(replace(plan, engine=engine.name))
    left_over = inbox.load()
    if left_over:
        show.say(f"{left_over} crashes of an earlier campaign are taken up")
    damaged = corpus.repair()
    if damaged:
        show.say(f"{damaged} torn inputs in {plan.corpus} were put right")
    with tempfile.TemporaryDirectory(prefix="zmm-fuzz-") as scratch:
        seeds = Corpus(Path(scratch) / "seeds").make()
        outcome.seeds = sum(seeds.add(data) for data in seeds_of(plan.fuzz_target, engine.kind))
        if engine.style == "afl":
            birth = afl_birth(engine, judge, corpus, seeds, plan.seconds + _SLACK_SECONDS)
        else:
            birth = libfuzzer_birth(engine, corpus, seeds, plan.seconds + _SLACK_SECONDS)
        siftings = partial(sift, judge, [seeds, corpus], Path(scratch))
        crew = Crew(birth, plan.jobs, plan.seed, corpus, seeds, inbox, siftings)
        begin, cpu_begin = time.monotonic(), _children_cpu_seconds()
        try:
            crew.start()
            _watch(crew, engine, corpus, begin + plan.seconds, show, outcome)
        except (KeyboardInterrupt, Interrupted) as error:
            outcome.interrupted = error.signal_name if isinstance(error, Interrupted) else "SIGINT"
        finally:
            crew.stop()
            outcome.seconds = time.monotonic() - begin
            outcome.cpu_seconds = _children_cpu_seconds() - cpu_begin
            _tell(crew, show)
            _account(crew, engine, inbox, outcome)
        if engine.twin is not None and not outcome.interrupted:
            _play_whole(judge, [seeds, corpus], Path(scratch), inbox, show)
            outcome.crashes = inbox.seen
        if outcome.disk or outcome.interrupted:
            _repair_quietly(corpus)
        elif plan.prune:
            _prune(judge, corpus, seeds, show, outcome)
    reap(plan, judge, inbox, show, outcome)
    return outcome


def _children_cpu_seconds() -> float:
    """What children that have ended took of the processors: engines, and nothing else while a campaign runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(crew: Crew, engine: Engine, corpus: Corpus, deadline: float, show: Observer, outcome: Outcome) -> None:
    """Waits for the budget's end, tells what happens, and looks after the disk."""
    looked = time.monotonic()
    while (now := time.monotonic()) < deadline and crew.running():
        time.sleep(min(_TICK_SECONDS, max(0.0, deadline - now)))
        _tell(crew, show)
        show.tick([row_of(worker, engine) for worker in crew.workers], _so_far(crew, outcome))
        if time.monotonic() - looked >= _DISK_LOOK_SECONDS:
            looked = time.monotonic()
            problem = disk_problem(corpus.path)
            if problem is not None:
                outcome.disk = explain_os_error(problem, f"write to the corpus {corpus.path.name}")
                return
    if time.monotonic() < deadline:
        outcome.reason = "every worker gave up before the budget ended"


def _so_far(crew: Crew, outcome: Outcome) -> Outcome:
    outcome.executions = sum(worker.executions + worker.progress.estimate() for worker in crew.workers)
    outcome.coverage = max(worker.progress.coverage for worker in crew.workers)
    outcome.features = max(worker.progress.features for worker in crew.workers)
    return outcome


def _tell(crew: Crew, show: Observer) -> None:
    while not crew.news.empty():
        show.say(crew.news.get())


def row_of(worker: Worker, engine: Engine) -> WorkerRow:
    """A worker as it is shown and reported."""
    return WorkerRow(
        f"worker {worker.number}",
        # AFL++ chooses lengths by itself.
        engine.length_bytes(worker.number) if engine.style == "libfuzzer" else 0,
        worker.executions + worker.progress.executions,
        worker.crashes,
        list(worker.deaths),
        worker.trouble,
    )


def _account(crew: Crew, engine: Engine, inbox: Inbox, outcome: Outcome) -> None:
    """The final figures: what engines said at their end, not what was guessed meanwhile."""
    outcome.coverage = max(worker.progress.coverage for worker in crew.workers)
    outcome.features = max(worker.progress.features for worker in crew.workers)
    outcome.executions = crew.executions()
    outcome.workers = [row_of(worker, engine) for worker in crew.workers]
    outcome.crashes = inbox.seen
    if not outcome.executions and not outcome.reason and not outcome.interrupted:
        outcome.reason = "the budget ended before anything was performed; give more with --time-budget"


def _play_whole(engine: Engine, corpora: list[Corpus], folder: Path, inbox: Inbox, show: Observer) -> None:
    """What workers have kept that saw less is played once where everything is seen."""
    for crash in sift(engine, corpora, folder, lambda: False):
        inbox.add(crash)
        for corpus in corpora:
            corpus.discard(crash.data)
        show.say(f"found in the corpus: {crash.violation.rule}: {crash.violation.sentence}")


def _repair_quietly(corpus: Corpus) -> None:
    """Torn inputs go even where nothing can be written: removing and renaming need no space."""
    try:
        corpus.repair()
    except OSError:
        return


def _prune(engine: Engine, corpus: Corpus, seeds: Corpus, show: Observer, outcome: Outcome) -> None:
    """Keeps the inputs that matter, those among the seeds included, so that the corpus stands alone."""
    try:
        outcome.corpus = merge(engine, corpus.path, [seeds.path])
    except MergeError as error:
        show.say(f"the corpus is not pruned: {error}")
    except OSError as error:
        if error.errno not in _FULL:
            raise
        outcome.disk = explain_os_error(error, f"prune the corpus {corpus.path.name}")


def reap(plan: Plan, engine: Engine, inbox: Inbox, show: Observer, outcome: Outcome) -> None:
    """Crashes become findings, and findings files; what cannot be saved is still reported."""
    crashes = inbox.crashes()
    if not crashes:
        return
    seconds = max(_HARVEST_SECONDS_MIN, min(_HARVEST_SECONDS_MAX, plan.seconds * _HARVEST_SHARE))
    if outcome.interrupted:
        seconds = 1.0
    found = harvest(crashes, engine, target=plan.target, seconds=seconds, say=show.say, inbox=inbox)
    for one in found:
        outcome.findings.append(_save(one, plan, engine, show, outcome))
    if all(one.files for one in outcome.findings):
        for crash in crashes:
            inbox.settle(crash)


def _save(one: Harvested, plan: Plan, engine: Engine, show: Observer, outcome: Outcome) -> Harvested:
    try:
        return save(one, engine, plan.output, plan.regressions)
    except SaveError as error:
        outcome.disk = outcome.disk or str(error)
    except OSError as error:
        outcome.disk = outcome.disk or explain_save(error, plan.output)
    show.say(f"{one.violation.rule}: not saved, so its program is printed only here and in the report")
    return one
