//! Gives random sequences of frames to the switch and to the kernel and compares what comes out.

use switchd_tests::oracle::{generate, run::Runner};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: u64 = args.get(1).map_or(100, |s| s.parse().unwrap());
    let seed: u64 = args.get(2).map_or(1, |s| s.parse().unwrap());
    let mut r = Runner::new().unwrap();
    let t = std::time::Instant::now();
    let mut bad = 0;
    for i in 0..n {
        let s = generate::sequence(seed + i);
        let o = r.run(&s, i).unwrap();
        if let Some(u) = o.unexplained {
            bad += 1;
            println!("=== {} {u}", seed + i);
        }
    }
    println!("{n} {bad} {:?}", t.elapsed());
}
