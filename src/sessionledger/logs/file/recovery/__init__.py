"""What a crash may leave in the files of a ledger, and what the next process makes of it.

**Which bytes survive.** A process that is killed leaves all that it has written. A loss of power
keeps what was flushed, whoever wrote it. Of bytes that were written since, it keeps any part, in
any order: whole writes, pages, or sectors of 512 bytes. A file may have its new size and lack the
bytes, which are then zeros. A flush that fails keeps nothing, and the next one may succeed
without those bytes.

**Which names survive.** Flushing a file keeps its bytes and not its name. A name that was made,
replaced or removed is kept once its folder was flushed. Until then any of them may be kept.

**The order of an append.** The file of a topic only grows, and everything below its durable offset
was flushed:

1. Once, the process flushes the record and all names that lead to it and to the file, up to the
   folder around the ledger. Others may have made them and died.
2. If the bytes before its batch are not known to be flushed, it flushes them.
3. It publishes its claim: up to where it is going to write.
4. It writes the whole batch with one call, and flushes the file.
5. It publishes the end of the batch as the new durable offset, and the id of the newest event. Then
   it answers.

The published record is not flushed again (`durable_offset`). After a loss of power it may be older
than the file, and never newer. So behind the durable offset stand whole batches that were
acknowledged, then any part of one that was not. The next process walks these lines by the chain:

- Each event of a whole batch follows the one before it. Such batches are kept.
- The first line that does not continue the chain is the one that is torn. The file is cut there, or
  where the unit of that line begins, with all that follows (`torn_tail`).
- What another program appended is never cut. It flushes nothing, and has no promise to keep.

Whatever is kept is written again, flushed and published before anybody sees it, under the lock of a
writer. It is written again since its writer may have failed to flush it. A process that may not
write shows nothing behind the durable offset.

**With `durability="normal"`** nobody flushes at step 4. After a loss of power the record tells how
far others have flushed, and the lines behind that are walked in the same way. What is left is the
beginning of what was acknowledged.

**Without a record** nobody knows what was acknowledged. No crash leaves that, as step 1 shows: the
record was removed, for instance beside a copy. A line that is no event may then have been damaged
later. It is cut only at the very end, with the rest of its unit.

**Two files at one moment.** Compaction changes two files together (`compactor`): the topic's own,
and the checkpoint that holds its base. The rename of the topic's file decides. Until then the new
checkpoint does not count, and from then on the old one does not (`checkpoint`).

**After a compaction** nobody else appends to the topic. A line without our hashes behind the
durable offset is refused, and whatever is only half there is cut.

**Small files** (cursors, checkpoints) are written beside the old ones, flushed, and renamed, and
their folder is flushed. A crash leaves the old content or the new.
"""
