//! Which cells of a topology a check of one commit runs, by what was accepted: each behaviour once, on the newest kernel that has
//! it, and the topology's own kernel.

use crate::report::behaviour::{self, Behaviour};
use crate::report::snapshot::Accepted;

/// Whether a cell runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// It runs.
    Run,
    /// It is left to a run of every cell.
    LeftOut {
        /// The kernel that runs in its place: the same behaviour was accepted for both.
        like: String,
    },
}

/// One [`Selection`] for each of `kernels`, which are in the order of versions; `own` is the kernel that the topology is about.
///
/// A kernel for which nothing was accepted always runs. At least two kernels run, where there are two.
pub fn select(accepted: &Accepted, kernels: &[String], own: Option<&str>) -> Vec<Selection> {
    let mut selected = vec![Selection::Run; kernels.len()];
    let of = |kernel: &'_ String| Some(accepted.behaviour(kernel)?.split_features().0);
    let behaviours: Vec<(&str, Behaviour)> =
        kernels.iter().filter_map(|kernel| Some((kernel.as_str(), of(kernel)?))).collect();
    for group in behaviour::group(behaviours.iter().map(|(kernel, behaviour)| (*kernel, behaviour))) {
        let Some((newest, others)) = group.kernels.split_last() else { continue };
        for kernel in others.iter().filter(|kernel| own != Some(kernel.as_str())) {
            if let Some(place) = kernels.iter().position(|one| one == kernel) {
                selected[place] = Selection::LeftOut { like: newest.clone() };
            }
        }
    }
    if selected.iter().filter(|one| **one == Selection::Run).count() < 2
        && let Some(oldest) = selected.first_mut()
    {
        *oldest = Selection::Run;
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNELS: [&str; 4] = ["5.10.262", "6.1.192", "6.12.57", "7.3.4"];

    /// What is left out (`.`) and what runs (`x`), where each kernel did what is given; an empty text was never accepted.
    fn runs(texts: [&str; 4], own: Option<&str>) -> String {
        let mut accepted = Accepted::default();
        for (kernel, text) in KERNELS.iter().zip(texts).filter(|(_, text)| !text.is_empty()) {
            let text = format!("outcome: pass\n\ntrial main\n  node:bond0: tx_dropped {text}\n");
            accepted.set(kernel, Behaviour::parse(&text)).unwrap();
        }
        let selected = select(&accepted, &KERNELS.map(str::to_owned), own);
        selected.iter().map(|one| if *one == Selection::Run { 'x' } else { '.' }).collect()
    }

    #[rstest::rstest]
    #[case::alike_on_all(["1", "1", "1", "1"], Some("6.12.57"), "..xx")]
    #[case::own_is_the_newest(["1", "1", "1", "1"], Some("7.3.4"), "x..x")]
    #[case::no_own_kernel(["1", "1", "1", "1"], None, "x..x")]
    #[case::own_is_not_among_them(["1", "1", "1", "1"], Some("6.18.15"), "x..x")]
    #[case::two_behaviours(["1", "1", "2", "2"], Some("6.12.57"), ".xxx")]
    #[case::a_behaviour_comes_back(["1", "2", "1", "2"], Some("6.12.57"), "..xx")]
    #[case::each_its_own(["1", "2", "3", "4"], Some("6.12.57"), "xxxx")]
    #[case::one_was_never_accepted(["1", "", "1", "1"], Some("6.12.57"), ".xxx")]
    #[case::none_was_accepted(["", "", "", ""], None, "xxxx")]
    fn each_behaviour_and_the_own_kernel_run(
        #[case] texts: [&str; 4],
        #[case] own: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(runs(texts, own), expected);
    }

    #[test]
    fn a_left_out_cell_names_the_kernel_that_runs_in_its_place() {
        let mut accepted = Accepted::default();
        for (kernel, text) in KERNELS.iter().zip(["1", "2", "1", "2"]) {
            let text = format!("outcome: pass\n\ntrial main\n  node:bond0: tx_dropped {text}\n");
            accepted.set(kernel, Behaviour::parse(&text)).unwrap();
        }
        let selected = select(&accepted, &KERNELS.map(str::to_owned), None);
        let like = |kernel: &str| Selection::LeftOut { like: kernel.to_owned() };
        assert_eq!(selected, [like("6.12.57"), like("7.3.4"), Selection::Run, Selection::Run]);
    }
}
