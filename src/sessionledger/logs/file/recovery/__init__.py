"""What a crash may leave in the files of a ledger, and what the next process makes of it.

**Which bytes survive.** A process that is killed leaves all that it has written. A loss of power
keeps what was flushed. Of bytes that were written and not flushed it keeps any part, in any order.
A line may be whole, torn, missing, or replaced by zeros.

**The order of an append.** The file of a topic only grows, and everything below its durable offset
was flushed:

1. The writer publishes its claim: up to where it is going to write.
2. It writes the whole batch with one call, and flushes the file.
3. It publishes the end of the batch as the new durable offset, and then answers.

The published record is never flushed (`durable_offset`). After a loss of power it may be older than
the file, and never newer. So whatever lies behind the durable offset was not acknowledged by a
writer that flushes, and the next process may keep it or cut it:

- A crash before step 2 leaves nothing, or a claim without bytes.
- A crash during step 2 leaves any part of a batch. A torn last line is cut, and so are the last
  events if they are of a unit whose end is missing (`torn_tail`). Everything else stays: a line in
  between that is no event counts as a damaged one (`lines`).
- A crash after step 2 leaves the whole batch, which is kept.

Whatever is kept is flushed and published before anybody sees it, under the lock of a writer. A
process that may not write shows nothing behind the durable offset.

**Two files at one moment.** Removing all events of a topic changes two files together (`emptying`):
the topic's own, and the checkpoint that holds its head and its rows. The rename of the
topic's file decides. Until then the new checkpoint does not count, and from then on the old one
does not (`checkpoint`).

**Small files** (cursors, checkpoints) are written beside the old ones, flushed, and renamed. A
crash leaves the old content or the new.
"""
