//! Random numbers that are the same in each run, and random topologies that the kernel takes.

pub mod topology;

/// A small fixed generator.
pub struct Generator(pub u64);

impl Generator {
    /// A number below another one.
    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }

    /// One of several; none of nothing.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.next(all.len()))
    }

    /// Whether something happens that happens once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.next(times) == 0
    }
}
