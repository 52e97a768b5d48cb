//! Rounds of one thing and another, compared round by round: what else runs on the machine then meets both.

use crate::meter::{Slice, count};

/// One figure of the layer beside that of raw commands.
pub(crate) struct Compared {
    /// Medians of the rounds.
    pub(crate) ours: f64,
    pub(crate) floor: f64,
    pub(crate) ratio: Ratio,
}

/// The median of the rounds' ratios, and the ends of their middle half.
#[derive(Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Compared {
    pub(crate) fn new(ours: &[Slice], floor: &[Slice], figure: impl Fn(&Slice) -> f64) -> Self {
        let ratios: Vec<f64> =
            ours.iter().zip(floor).map(|(ours, floor)| figure(ours) / figure(floor)).collect();
        Self { ours: median(ours, &figure), floor: median(floor, &figure), ratio: Ratio::new(ratios) }
    }
}

impl Ratio {
    pub(crate) fn new(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        Self { low: quantile(&ratios, 0.25), median: quantile(&ratios, 0.5), high: quantile(&ratios, 0.75) }
    }
}

pub(crate) fn median(slices: &[Slice], figure: impl Fn(&Slice) -> f64) -> f64 {
    let mut figures: Vec<f64> = slices.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    quantile(&figures, 0.5)
}

/// Between two figures in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * count(sorted.len().saturating_sub(1));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}
