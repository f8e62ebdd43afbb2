/** What a store knows to be behind it: only the term that counts may change it. */
import t from 'tap';
import { Known } from '../../coordinator/store/known.ts';

const owner = (epoch: number, lastSeq: number) => ({ epoch, termId: `term ${epoch}`, lastSeq });

/** The term, the last event, the last slice. */
const picture = ({ termId, seq, slice }: Known) => [termId, seq, slice];

t.test('slices are numbered over all owners, and go on over a reclaim', async (t) => {
  const known = new Known();
  known.acquired(owner(1, 10), 7);
  t.equal(known.sliceOf(1), 8);
  known.kept('term 1', 1);
  known.committed('term 1', 12);
  t.same(picture(known), ['term 1', 12, 8]);
  known.reclaimed('term 1', owner(2, 11));
  t.same(picture(known), ['term 2', 11, 8]);
  t.equal(known.sliceOf(2), 9);
  known.acquired(owner(5, 3), 4);
  t.same([...picture(known), known.sliceOf(1)], ['term 5', 3, 4, 5], 'what is there now, though it is less');
});

t.test('an answer of a term that counts no more changes nothing', async (t) => {
  const known = new Known();
  known.acquired(owner(1, 10), 0);
  known.acquired(owner(4, 20), 2, 'another server');
  known.reclaimed('term 1', owner(2, 10));
  known.committed('term 1', 99);
  known.kept('term 1', 9);
  t.same([...picture(known), known.source], ['term 4', 20, 2, 'another server']);
  known.committed('term 4', 15);
  t.equal(known.seq, 20, 'and no earlier answer takes back a later one');
});
