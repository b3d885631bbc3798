/*
 * The rules of owner tracking, straightforwardly, one event after the other: what benchmarks/replay.py measures
 * the engine against. Without per-page counts; 64 bits. With -DLOCKED, each event takes and releases a lock bit in
 * the folio, as a kernel must. With -DCHECKED, it does what the engine does besides, and a kernel does not: it checks
 * that the event can be, and keeps two sums that tell who really maps the folio.
 */
#include <stddef.h>
#include <stdint.h>

#define ID_BITS 31
#define ID_MASK ((UINT64_C(1) << ID_BITS) - 1)
#define LOCK_BIT (UINT64_C(1) << 31)
#define SHARED_BIT (UINT64_C(1) << 63)

enum op { NEW = 1, MAP_PTES, UNMAP_PTES, MAP_PMD, UNMAP_PMD, DUP_PTES, DUP_PMD };

struct folio {
	uint64_t ids;		/* two MM ids, the lock bit, the shared flag */
	int32_t total;
	int32_t entire;
	int32_t count[2];
#ifdef CHECKED
	uint32_t order;
	int64_t sum, sum_of_squares;
#endif
};

static void lock(struct folio *folio)
{
#ifdef LOCKED
	while (__atomic_fetch_or(&folio->ids, LOCK_BIT, __ATOMIC_ACQUIRE) & LOCK_BIT)
		;
#else
	(void)folio;
#endif
}

static void unlock(struct folio *folio)
{
#ifdef LOCKED
	__atomic_store_n(&folio->ids, folio->ids & ~LOCK_BIT, __ATOMIC_RELEASE);
#else
	(void)folio;
#endif
}

static uint32_t get_id(const struct folio *folio, int slot)
{
	return (folio->ids >> (32 * slot)) & ID_MASK;
}

static void set_id(struct folio *folio, int slot, uint64_t id)
{
	folio->ids = (folio->ids & ~(ID_MASK << (32 * slot))) | id << (32 * slot);
}

static void add(struct folio *folio, uint32_t mm, int32_t n)
{
	lock(folio);
	folio->total += n;
	if (get_id(folio, 0) == mm) {
		folio->count[0] += n;
	} else if (get_id(folio, 1) == mm) {
		folio->count[1] += n;
	} else if (!get_id(folio, 0)) {
		set_id(folio, 0, mm);
		folio->count[0] = n;
		if (folio->total != n)
			folio->ids |= SHARED_BIT;
	} else if (!get_id(folio, 1)) {
		set_id(folio, 1, mm);
		folio->count[1] = n;
		folio->ids |= SHARED_BIT;
	}
	unlock(folio);
}

static void del(struct folio *folio, uint32_t mm, int32_t n)
{
	int slot = -1;

	lock(folio);
	folio->total -= n;
	if (get_id(folio, 0) == mm)
		slot = 0;
	else if (get_id(folio, 1) == mm)
		slot = 1;
	if (slot >= 0) {
		folio->count[slot] -= n;
		if (folio->count[slot] >= 1)
			goto out;
		set_id(folio, slot, 0);
		folio->count[slot] = 0;
	}
	if (folio->count[0] == folio->total || folio->count[1] == folio->total)
		folio->ids &= ~SHARED_BIT;
out:
	unlock(folio);
}

#ifdef CHECKED
/* Could the event that was just applied be? `d` mappings more of mm, which cover `nr` pages. */
static int possible(struct folio *folio, uint32_t mm, int32_t d, enum op op, uint32_t page, uint32_t nr, int32_t before)
{
	uint32_t nr_pages = 1u << folio->order;
	int entry = op == MAP_PMD || op == UNMAP_PMD || op == DUP_PMD || (op == NEW && folio->order == 9);
	int32_t others = 0;

	folio->sum += (int64_t)d * mm;
	folio->sum_of_squares += (int64_t)d * mm * mm;
	for (int slot = 0; slot < 2; slot++)
		if (get_id(folio, slot) != mm)
			others += folio->count[slot];
	if (page + nr > nr_pages || folio->entire < 0 || folio->total < folio->entire || folio->total < others)
		return 0;
	if (entry ? page || nr != nr_pages || folio->order != 9 : op == NEW && (page || nr != nr_pages))
		return 0;
	if ((op == NEW && before) || folio->total > 1 << 30)
		return 0;
	if (folio->sum < 0 || folio->sum_of_squares < folio->sum || folio->sum_of_squares > INT64_C(1) << 53)
		return 0;
	return folio->total || !folio->sum_of_squares;
}
#endif

/* Apply the events; returns how many. With -DCHECKED, only those before the first that cannot be. */
size_t replay(struct folio *folios, size_t events, const uint32_t *folio, const uint32_t *mm, const uint8_t *op,
	      const uint32_t *page, const uint32_t *nr)
{
	for (size_t i = 0; i < events; i++) {
		struct folio *f = &folios[folio[i]];
#ifdef CHECKED
		int32_t before = f->total;
#endif

		switch (op[i]) {
		case MAP_PTES:
		case DUP_PTES:
			add(f, mm[i], nr[i]);
			break;
		case UNMAP_PTES:
			del(f, mm[i], nr[i]);
			break;
		case MAP_PMD:
		case DUP_PMD:
			add(f, mm[i], 1);
			f->entire++;
			break;
		case UNMAP_PMD:
			del(f, mm[i], 1);
			f->entire--;
			break;
		case NEW:
			f->entire = nr[i] >= 512;
			f->total = f->entire ? 1 : nr[i];
			set_id(f, 0, mm[i]);
			f->count[0] = f->total;
			break;
		}
#ifdef CHECKED
		if (!possible(f, mm[i], f->total - before, op[i], page[i], nr[i], before))
			return i;
#else
		(void)page;
#endif
	}
	return events;
}
