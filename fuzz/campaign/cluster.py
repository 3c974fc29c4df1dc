"""A campaign on a Dask cluster: slices handed to its workers, whose deaths cost nothing that was shared."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UserError, explain_os_error, one_line
from ..tiers.base import Interrupted
from .corpus import Corpus
from .engines import Engine, find_engine
from .inbox import Inbox
from .merge import Merged, MergeError, merge
from .plan import Observer, Outcome, Plan, Silent, WorkerRow
from .run import reap
from .shared import SharedCorpus
from .slices import Slice, SliceResult, run_slice

# Long enough that loading the corpus does not count, short enough that figures arrive.
_SLICE_SECONDS_MIN, _SLICE_SECONDS_MAX, _SLICE_SHARE = 5.0, 60.0, 0.2
_POLL_SECONDS = 0.5
_CONNECT_SECONDS = 10
# How long after the budget slices may take to come home.
_HOMECOMING_SECONDS = 30.0


def cluster_campaign(plan: Plan, observer: Observer | None = None) -> Outcome:
    """
    Runs a campaign on the cluster of ``plan.scheduler``; ``plan.corpus`` is the URL that its workers share.

    Raises:
        UserError: no such cluster, no workers, the extra is missing, ...
    """
    show = observer or Silent()
    if plan.engine == "afl":
        raise UserError("engine afl has no cluster form; use libfuzzer or atheris, or afl on each machine")
    engine = find_engine(plan.engine, plan.fuzz_target, sanitize=plan.sanitize)
    plan = replace(plan, engine=engine.name)
    url = shared_url(plan.corpus)
    outcome = Outcome(engine.name)
    inbox = Inbox(None)
    client = _connect(plan.scheduler)
    try:
        shared = SharedCorpus(url)  # where there is a cluster: else an empty folder would be left
        show.begin(plan)
        begin = time.monotonic()
        cluster = Cluster(client, plan, url, inbox, show, outcome)
        try:
            cluster.run(begin + plan.seconds)
        except (KeyboardInterrupt, Interrupted) as error:
            outcome.interrupted = error.signal_name if isinstance(error, Interrupted) else "SIGINT"
        outcome.seconds = time.monotonic() - begin
        outcome.workers = list(cluster.rows.values())
    finally:
        client.close(timeout=5)
    crashes = shared.crashes()
    for crash in crashes:
        inbox.add(crash)
    outcome.crashes = len({crash.data for crash in (*crashes, *inbox.crashes())})
    if plan.prune and not outcome.interrupted:
        outcome.corpus = prune_shared(engine, shared, show)
    reap(plan, engine, inbox, show, outcome)
    if all(one.files for one in outcome.findings):
        for crash in crashes:
            shared.settle(crash)
    return outcome


def shared_url(corpus: str) -> str:
    """What workers open: a URL as it is, a path from the root on."""
    return corpus if "://" in corpus else f"file://{Path(corpus).resolve()}"


def _connect(address: str) -> Any:
    try:
        import distributed
    except ImportError:
        raise UserError("--scheduler needs Dask; pip install 'zmm[dask]' here and on the workers") from None
    if not re.search(r":[0-9]+/?$", address):
        # Dask would look for it all the same, and leave a half-made client behind.
        raise UserError(f"no Dask scheduler at {address}: it has no port; write tcp://HOST:PORT")
    try:
        open_client: Any = distributed.Client
        client = open_client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler at {address}: {one_line(str(error))}; check the address") from None
    if not client.scheduler_info(n_workers=-1)["workers"]:
        client.close()
        raise UserError(f"the scheduler at {address} has no workers; start some (dask worker {address})")
    return client


class Cluster:
    """The slices of one campaign: handed out, taken back, handed out again."""

    def __init__(self, client: Any, plan: Plan, url: str, inbox: Inbox, show: Observer, outcome: Outcome) -> None:
        self._client = client
        self._plan = plan
        self._url = url
        self._inbox = inbox
        self._show = show
        self._outcome = outcome
        self._out: dict[Any, Slice] = {}
        self._number = 0
        self._barred: set[str] = set()
        self._slice_seconds = max(_SLICE_SECONDS_MIN, min(_SLICE_SECONDS_MAX, plan.seconds * _SLICE_SHARE))
        self.rows: dict[str, WorkerRow] = {}

    def run(self, deadline: float) -> None:
        """Keeps every worker busy until the deadline, then waits for what is still out."""
        while time.monotonic() < deadline and not self._outcome.reason:
            self._look_at_workers()
            self._hand_out(deadline)
            self._take_back()
            self._show.tick(list(self.rows.values()), self._outcome)
            time.sleep(_POLL_SECONDS)
        end = deadline + _HOMECOMING_SECONDS
        while self._out and time.monotonic() < end:
            self._look_at_workers()
            self._take_back()
            time.sleep(_POLL_SECONDS / 5)
        if self._out:
            self._show.say(f"{len(self._out)} slices did not come back; what they had shared is kept")
            self._client.cancel(list(self._out))
        if not self._outcome.executions and not self._outcome.reason:
            self._outcome.reason = "no slice performed anything; give more with --time-budget"
        lacking = [row.name for row in self.rows.values() if row.trouble]
        if lacking and not self._outcome.reason:
            self._outcome.reason = f"{', '.join(lacking)} could not take part to the end"

    def _present(self) -> dict[str, int]:
        """The workers that are there and welcome, with the number of engines that each may run."""
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        return {name: int(info["nthreads"]) for name, info in found.items() if name not in self._barred}

    def _look_at_workers(self) -> None:
        present = self._present()
        for name in present:
            if name not in self.rows:
                self.rows[name] = WorkerRow(name)
        for name, row in self.rows.items():
            if name not in present and name not in self._barred and not row.deaths:
                row.deaths.append("its process is gone")
                self._show.say(f"{name}: its process is gone; its slice is done again elsewhere")

    def _hand_out(self, deadline: float) -> None:
        present = self._present()
        if not present and self._barred and not self._out:
            self._outcome.reason = "no worker is left that can write to its disk"
            return
        room = min(sum(present.values()), self._plan.jobs if self._plan.jobs > 0 else 64)
        while present and len(self._out) < room:
            left = deadline - time.monotonic()
            if left < 1.0:
                return
            part = Slice(
                self._plan.engine,
                self._plan.fuzz_target,
                self._plan.sanitize,
                min(left, self._slice_seconds),
                self._plan.seed + self._number,
                self._url,
            )
            self._number += 1
            # Without a choice of workers a slice may go anywhere, also to workers that come later.
            chosen = {"workers": list(present)} if self._barred else {}
            future = self._client.submit(run_slice, part, pure=False, retries=2, **chosen)
            self._out[future] = part

    def _take_back(self) -> None:
        for future in [future for future in self._out if future.done()]:
            del self._out[future]
            name = self._performed_by(future)
            try:
                result: SliceResult = future.result()
            except Exception as error:  # whatever a worker, its interpreter or the network came to
                self._show.say(f"a slice was lost ({type(error).__name__}: {one_line(str(error))[:120]})")
                continue
            self._account(name, result)
            future.release()

    def _performed_by(self, future: Any) -> str:
        """Which worker has the result, as far as the scheduler still knows."""
        holders = self._client.who_has([future])
        return next((name for names in holders.values() for name in names), "a worker")

    def _account(self, name: str, result: SliceResult) -> None:
        outcome, row = self._outcome, self.rows.setdefault(name, WorkerRow(name))
        outcome.executions += result.executions
        outcome.coverage = max(outcome.coverage, result.coverage)
        outcome.features = max(outcome.features, result.features)
        row.executions += result.executions
        row.crashes += len(result.crashes)
        row.deaths.extend(result.deaths)
        for crash in result.crashes:
            known = set(self._inbox.rules())
            self._inbox.add(crash)
            if crash.violation.rule not in known:
                self._show.say(f"found: {crash.violation.rule}: {crash.violation.sentence}")
        if result.trouble and not row.trouble:
            row.trouble = result.trouble
            self._barred.add(name)
            self._show.say(f"{name}: {result.trouble}; it gets no more work")


def prune_shared(engine: Engine, shared: SharedCorpus, show: Observer) -> Merged | None:
    """Reduces the shared corpus to a cover: on a copy first, then superfluous inputs go."""
    with tempfile.TemporaryDirectory(prefix="zmm-fuzz-") as folder:
        corpus = Corpus(Path(folder) / "corpus").make()
        try:
            shared.pull(corpus)
            merged = merge(engine, corpus.path)
        except (MergeError, OSError) as error:
            said = explain_os_error(error, "prune the corpus") if isinstance(error, OSError) else str(error)
            show.say(f"the corpus is not pruned: {said}")
            return None
        shared.push(corpus)
        shared.keep_only({path.name for path in corpus.files()})
    return merged
