// SPDX-License-Identifier: Apache-2.0

#[inline(never)]
fn square(x: u32) -> u32 {
    x.wrapping_mul(x)
}

#[inline(never)]
fn sum_of_squares(n: u32) -> u32 {
    (1..=n).map(square).fold(0, u32::wrapping_add)
}

fn main() {
    println!("{}", sum_of_squares(999 + std::env::args().count() as u32));
}
