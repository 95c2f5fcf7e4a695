// SPDX-License-Identifier: Apache-2.0

extern "C" {
    fn square(x: u32) -> u32;
}

fn main() {
    let last = 999 + std::env::args().count() as u32;
    println!("{}", (1..=last).map(|x| unsafe { square(x) }).fold(0, u32::wrapping_add));
}
