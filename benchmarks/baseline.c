/*
 * The rules of owner tracking, straightforwardly, one event after the other: what benchmarks/replay.py measures
 * the engine against. Without per-page counts; 64 bits. Built twice: with -DLOCKED, each event takes and releases
 * a lock bit in the folio, as a kernel must.
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

void replay(struct folio *folios, size_t events, const uint32_t *folio, const uint32_t *mm, const uint8_t *op,
	    const uint32_t *nr)
{
	for (size_t i = 0; i < events; i++) {
		struct folio *f = &folios[folio[i]];

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
	}
}
