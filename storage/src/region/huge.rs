//! A region is backed by huge pages only while it is in use as a whole. Where pages were given back the system would fill the
//! holes again: the first touch of an empty huge page brings all of it, and what gathers small pages into huge ones does not mind
//! holes. So a region loses its huge pages with the first pages that are given back, and once a second ([`Regions::purge`]) that
//! follows the use.

use std::sync::Arc;

use memmap2::MmapRaw;

use super::{Departure, Inner, REGION, Regions};

impl Regions {
    /// Takes huge pages from regions with free pages, and lets the system gather some where all are in use.
    pub(super) fn fit_huge_pages(&self) {
        if !self.huge_pages {
            return;
        }
        let regions = self.inner.lock().regions.len();
        for id in 0..regions {
            let departure = self.inner.lock().depart_from_huge(id);
            if let Some(departure) = departure {
                departure.clean();
                let unmapped = self.inner.lock().arrive(departure);
                drop(unmapped);
            }
            let full = self.inner.lock().full_without_huge(id);
            if let Some((map, lead)) = full {
                advise_huge(&map, lead, true);
                // If it is not full any more by now, the next call finds free pages in a region with huge ones.
                self.inner.lock().note_huge(id, &map);
            }
        }
    }
}

impl Inner {
    /// Takes all free pages of a region with huge pages out of what is free.
    fn depart_from_huge(&mut self, id: usize) -> Option<Departure> {
        let region = self.regions.get_mut(id)?.as_mut().filter(|region| region.huge && !region.free.is_empty())?;
        region.huge = false;
        let pages = region.free;
        Some(self.take_out(id, pages, true))
    }

    /// A region without free and without huge pages.
    fn full_without_huge(&self, id: usize) -> Option<(Arc<MmapRaw>, usize)> {
        let region = self.regions.get(id)?.as_ref().filter(|region| !region.huge && region.free.is_empty())?;
        Some((region.map.clone(), region.lead))
    }

    /// Notes that a region may have huge pages, if it is still the same.
    fn note_huge(&mut self, id: usize, map: &Arc<MmapRaw>) {
        if let Some(Some(region)) = self.regions.get_mut(id)
            && Arc::ptr_eq(&region.map, map)
        {
            region.huge = true;
        }
    }
}

/// Tells the system whether to back a region by huge pages.
pub(super) fn advise_huge(map: &MmapRaw, lead: usize, huge: bool) {
    // A kernel built without huge pages refuses, and then small ones serve.
    #[cfg(target_os = "linux")]
    let _ = map.advise_range(if huge { memmap2::Advice::HugePage } else { memmap2::Advice::NoHugePage }, lead, REGION);
    #[cfg(not(target_os = "linux"))]
    let _ = (map, lead, huge);
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;
    use crate::region::PAGE;

    fn huge(regions: &Regions) -> Vec<bool> {
        regions.inner.lock().regions.iter().flatten().map(|region| region.huge).collect()
    }

    fn take_many(regions: &Regions, count: usize) -> Vec<NonNull<u8>> {
        (0..count).map(|_| regions.take().unwrap()).collect()
    }

    #[test]
    fn regions_with_holes_have_small_pages() {
        let regions = Regions::with_huge_pages();
        let pages = take_many(&regions, 3 * REGION / PAGE);
        assert_eq!(huge(&regions), [false, true, true], "the first begins with small ones");
        regions.purge();
        assert_eq!(huge(&regions), [true; 3], "all are in use");
        regions.give_for_test(pages[300]);
        assert_eq!(huge(&regions), [true; 3], "it may come back at once");
        regions.purge();
        assert_eq!(huge(&regions), [true, false, true]);
        regions.validate();
        assert_eq!(regions.take(), Some(pages[300]));
        regions.purge();
        assert_eq!(huge(&regions), [true; 3]);
        pages.into_iter().for_each(|page| regions.give_for_test(page));
        regions.validate();
        regions.purge();
        assert_eq!(regions.mapped_bytes(), 0);
    }
}
