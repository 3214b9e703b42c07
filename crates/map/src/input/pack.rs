//! Rows gathered into the values of one job.

/// How many values a job gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    /// Those of so many rows (`-n`, `-N`, `-L`).
    Rows(usize),
    /// As many as a command line takes (`-m`, `-X`, xargs' own way), and what is left at the end spread over all slots.
    Fill {
        /// Most rows.
        rows: usize,
        /// Most bytes of values, each with its separator.
        bytes: usize,
        /// Slots to spread over.
        slots: usize,
    },
}

/// Values on their way into jobs. Pure.
#[derive(Debug)]
pub struct Packer {
    pack: Pack,
    rows: Vec<Vec<Vec<u8>>>,
    bytes: usize,
}

impl Packer {
    /// Nothing gathered yet.
    #[must_use]
    pub const fn new(pack: Pack) -> Self {
        Self { pack, rows: Vec::new(), bytes: 0 }
    }

    /// Takes a row; the values of a job that is full now.
    pub fn push(&mut self, row: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
        let size: usize = row.iter().map(|value| value.len() + 1).sum();
        match self.pack {
            Pack::Rows(most) => {
                self.rows.push(row);
                (self.rows.len() >= most).then(|| self.take(usize::MAX))
            }
            Pack::Fill { rows, bytes, .. } => {
                let full =
                    !self.rows.is_empty() && (self.rows.len() >= rows || self.bytes + size > bytes);
                let job = full.then(|| self.take(usize::MAX));
                self.bytes += size;
                self.rows.push(row);
                job
            }
        }
    }

    /// What is left when no row comes any more; call it until there is nothing.
    pub fn rest(&mut self) -> Option<Vec<Vec<u8>>> {
        if self.rows.is_empty() {
            return None;
        }
        if let Pack::Fill { rows, bytes, slots } = self.pack {
            // Once: from here on each job has its share.
            let share =
                if self.rows.len() >= rows { rows } else { self.rows.len().div_ceil(slots) };
            self.pack = Pack::Fill { rows: share, bytes, slots: usize::MAX };
            let share = if slots == usize::MAX { rows } else { share };
            return Some(self.take(share));
        }
        Some(self.take(usize::MAX))
    }

    fn take(&mut self, most: usize) -> Vec<Vec<u8>> {
        self.bytes = 0;
        let most = most.min(self.rows.len());
        self.rows.drain(..most).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(pack: Pack, count: usize) -> Vec<usize> {
        let mut packer = Packer::new(pack);
        let mut jobs = Vec::new();
        for n in 0..count {
            jobs.extend(packer.push(vec![n.to_string().into_bytes()]));
        }
        while let Some(job) = packer.rest() {
            jobs.push(job);
        }
        jobs.iter().map(Vec::len).collect()
    }

    #[test]
    fn as_gnu_parallel_packs() {
        // seq 10 | parallel -j3 -X; the same with -n4; -n3.
        let fill = |rows| Pack::Fill { rows, bytes: 100_000, slots: 3 };
        assert_eq!(packed(fill(usize::MAX), 10), [4, 4, 2]);
        assert_eq!(packed(fill(4), 10), [4, 4, 1, 1]);
        assert_eq!(packed(Pack::Rows(3), 10), [3, 3, 3, 1]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_bounds_hold(rows in 1..9usize, bytes in 4..40usize, slots in 1..5usize, values in prop::collection::vec("[a-z]{0,12}", 0..40)) {
            let mut packer = Packer::new(Pack::Fill { rows, bytes, slots });
            let mut jobs = Vec::new();
            for value in &values {
                jobs.extend(packer.push(vec![value.clone().into_bytes()]));
            }
            while let Some(job) = packer.rest() {
                jobs.push(job);
            }
            for job in &jobs {
                let size: usize = job.iter().map(|value| value.len() + 1).sum();
                prop_assert!(job.len() <= rows && (size <= bytes || job.len() == 1));
            }
            let all: Vec<u8> = jobs.concat().concat();
            prop_assert_eq!(all, values.concat().into_bytes());
        }
    }
}
