//! Which flow comes next.

/// How flows are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Draw {
    /// Each as often as another.
    Uniform,
    /// The k-th with a chance of 1/k (exponent 1), the popular ones strewn over the whole range.
    Zipf,
}

impl Draw {
    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Draw::Uniform => "uniform",
            Draw::Zipf => "Zipf",
        }
    }

    /// Both.
    pub const BOTH: [Draw; 2] = [Draw::Uniform, Draw::Zipf];
}

/// A repeatable sequence of numbers below `n`.
#[derive(Clone, Debug)]
pub struct Sequence {
    draw: Draw,
    n: u32,
    seed: u64,
    /// ln(n + 1)
    log: f64,
}

/// Coprime to every n that it does not divide, so that multiplying by it permutes 0..n.
const PRIME: u64 = 2_654_435_761;

impl Sequence {
    /// Numbers below `n` (at least 1).
    pub fn new(draw: Draw, n: u32) -> Sequence {
        let n = n.max(1);
        Sequence {
            draw,
            n,
            seed: 0x2545_f491_4f6c_dd1d,
            log: (f64::from(n) + 1.0).ln(),
        }
    }

    fn random(&mut self) -> u64 {
        // xorshift64 (Marsaglia 2003)
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed >> 11
    }

    /// The next number.
    pub fn draw(&mut self) -> u32 {
        let r = self.random();
        let n = u64::from(self.n);
        let at = match self.draw {
            Draw::Uniform => r % n,
            Draw::Zipf => {
                // The distribution with density 1/x on [1, n + 1), rounded down: its k-th number
                // has the chance ln(1 + 1/k) / ln(n + 1).
                let u = r as f64 / (1u64 << 53) as f64;
                let rank = ((u * self.log).exp() as u64).clamp(1, n) - 1;
                rank * PRIME % n
            }
        };
        at as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_prefers_one_and_reaches_all() {
        let mut seen = [0u32; 100];
        let mut s = Sequence::new(Draw::Zipf, 100);
        for _ in 0..100_000 {
            seen[s.draw() as usize] += 1;
        }
        assert!(seen.iter().all(|&k| k > 100), "{seen:?}");
        // ln 2 / ln 101 is 15 %.
        let most = *seen.iter().max().unwrap();
        assert!((14_000..16_000).contains(&most), "{most}");
    }

    #[test]
    fn uniform_is_even() {
        let mut seen = [0u32; 16];
        let mut s = Sequence::new(Draw::Uniform, 16);
        (0..16_000).for_each(|_| seen[s.draw() as usize] += 1);
        assert!(seen.iter().all(|&k| (800..1200).contains(&k)), "{seen:?}");
    }
}
