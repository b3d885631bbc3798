/*
 * The two owner slots of one folio of four pages, mapped by MMS address spaces: the model that
 * `mapcount check` explores, for Spin. One event is one transition.
 *
 *     spin -a -DMMS=4 owner_slots.pml && gcc -O3 -DSAFETY -DNOREDUCE -o pan pan.c && ./pan -m1000000
 *
 * The truth: for each mm, which pages it maps by PTEs, and whether it maps all by a PMD. A page is mapped once
 * by each mm at most. What the kernel keeps: total, two slots (owner 0: free) and the flag.
 * An assertion says that a folio of two mms is never called exclusive.
 */
#ifndef MMS
#define MMS 4
#endif

byte ptes[MMS];
bool pmd[MMS];
byte total, owner0, count0, owner1, count1;
bool flag;

/* mm m + 1 has n mappings more; of another mm's slot, or a free one, the first that fits. */
inline add(m, n)
{
	total = total + n;
	if
	:: owner0 == m + 1 -> count0 = count0 + n
	:: else ->
		if
		:: owner1 == m + 1 -> count1 = count1 + n
		:: else ->
			if
			:: owner0 == 0 ->
				owner0 = m + 1; count0 = n; flag = flag || total != n
			:: else ->
				if
				:: owner1 == 0 -> owner1 = m + 1; count1 = n
				:: else
				fi;
				flag = true
			fi
		fi
	fi
}

/* Clear the flag if one slot has all mappings that are left. */
inline compare()
{
	if
	:: count0 == total || count1 == total -> flag = false
	:: else
	fi
}

/* mm m + 1 has n mappings less. A slot that would have none is free. */
inline remove(m, n)
{
	total = total - n;
	if
	:: owner0 == m + 1 && count0 > n -> count0 = count0 - n
	:: owner0 == m + 1 && count0 <= n -> owner0 = 0; count0 = 0; compare()
	:: owner1 == m + 1 && count1 > n -> count1 = count1 - n
	:: owner1 == m + 1 && count1 <= n -> owner1 = 0; count1 = 0; compare()
	:: owner0 != m + 1 && owner1 != m + 1 -> compare()
	fi
}

/* n pages from p on, as bits. */
#define PAGES(p, n)	(((1 << n) - 1) << p)

#define PTES(m, p, n) \
	:: d_step { !pmd[m] && (ptes[m] & PAGES(p, n)) == 0 -> ptes[m] = ptes[m] | PAGES(p, n); add(m, n) } \
	:: d_step { (ptes[m] & PAGES(p, n)) == PAGES(p, n) -> ptes[m] = ptes[m] & ~PAGES(p, n); remove(m, n) }

#define PMD(m) \
	:: d_step { !pmd[m] && ptes[m] == 0 -> pmd[m] = true; add(m, 1) } \
	:: d_step { pmd[m] -> pmd[m] = false; remove(m, 1) }

#define MM(m) \
	PTES(m, 0, 1) PTES(m, 1, 1) PTES(m, 2, 1) PTES(m, 3, 1) \
	PTES(m, 0, 2) PTES(m, 1, 2) PTES(m, 2, 2) PTES(m, 0, 3) PTES(m, 1, 3) PTES(m, 0, 4) \
	PMD(m)

#define MAPS(m)	(ptes[m] != 0 || pmd[m])

active proctype events()
{
	do
	MM(0)
	MM(1)
#if MMS > 2
	MM(2)
#endif
#if MMS > 3
	MM(3)
#endif
	od
}
