"""The log without sessions: a topic of your own, a consumer that remembers where it was."""

import tempfile
import threading
from pathlib import Path

from sessionledger import Change, Log, LogEvent, Unit, open_log

TOPIC = "orders"
CONSUMER = "mailer"
ORDERS = 5


def order(log: Log, number: int) -> None:
    """Append one order as two events that happen together or not at all."""
    placed = Change(LogEvent.of("placed", {"order": number}))
    charged = Change(LogEvent.of("charged", {"order": number, "cents": 100 * number}))
    log.append(TOPIC, [Unit([placed, charged])])


def mail(log: Log, last: int) -> None:
    """Handle events in order up to the id `last`, waiting for those that are still to come."""
    cursor = log.cursor(TOPIC, CONSUMER)
    while cursor < last:
        log.wait(TOPIC, after=cursor, timeout=5)
        for event in log.read(TOPIC, after=cursor, limit=4):
            print("mailer:", event.id, event.kind, event.value)
            cursor = event.id
        log.ack(TOPIC, CONSUMER, cursor)


def main() -> None:
    """Run it in a folder of its own: the mailer waits in a thread, and later goes on."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'orders.db'}"
        log = open_log(url)
        mailer = threading.Thread(target=mail, args=(log, 2 * ORDERS))
        mailer.start()
        for number in range(1, ORDERS + 1):
            order(log, number)
        mailer.join()
        log.close()

        reopened = open_log(url)
        print("topics:", reopened.topics(), "newest event:", reopened.latest(TOPIC))
        print("the mailer goes on after event", reopened.cursor(TOPIC, CONSUMER))
        reopened.close()


if __name__ == "__main__":
    main()
