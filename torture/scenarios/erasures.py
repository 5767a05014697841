"""Persons who are erased by processes that are killed, beside writers that go on."""

from __future__ import annotations

import random
import time

from sessionledger import SessionStore
from torture.checker import FORGIVEN
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.processes import Work
from torture.scenarios.kills import start
from torture.trial import Trial

KILLS = 8
SESSIONS = 6
WRITERS = 2


def erasures(trial: Trial, log: str) -> None:
    """Let persons log in, erase each, and kill whoever does it. Then maintain the ledger."""
    url = trial.url(log)
    persons = [f"person-{number}@example.org" for number in range(trial.size(KILLS))]
    with trial.crew() as crew:
        for _ in range(WRITERS):
            start(crew, url)
        crew.read_lines(20)
        for person in persons:
            erasing = crew.start(_erasing(url, person))
            time.sleep(0.1 + trial.rng.random() / 4)
            crew.kill(erasing)
            trial.counts["killed erasures"] += 1
            with SessionStore.open(url, policy=POLICY) as store:
                trial.counts["unfinished erasures"] += store.stats().erasure_pending
        trial.counts["kills"] += crew.kill_all()
        with SessionStore.open(url, policy=POLICY) as store:
            assert store.maintain() is not None
            trial.fail(["an erasure is left"] if store.stats().erasure_pending else [])
            for person in persons:  # some were killed before they wrote whom to erase
                store.erase(person)
            trial.fail(_left(trial, store, persons, is_embedded=log != "postgresql"))
        trial.counts["persons erased"] += len(persons)
        trial.check(url, crew.journal, crew.next_writer, FORGIVEN)


def _left(trial: Trial, store: SessionStore, persons: list[str], *, is_embedded: bool) -> list[str]:
    """Where a person is still named: in an event, and in any file of an embedded ledger."""
    texts = {f"event {event.id}": event.payload for event in store.events()}
    if is_embedded:
        texts |= {
            str(file): file.read_bytes() for file in trial.folder.rglob("*") if file.is_file()
        }
    return [
        f"{person} stands in {name}"
        for name, text in texts.items()
        for person in persons
        if person.encode() in text
    ]


def _erasing(url: str, person: str) -> Work:
    """Log the person in and erase them, again and again."""

    def work(_: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY) as store:
            while True:
                for _time in range(SESSIONS):
                    made = store.create(person, attributes={"a": person}, context={"b": person})
                    if rng.random() < 0.5:
                        store.rotate(made.token, reason=f"asked by {person}")
                store.erase(person)

    return work
