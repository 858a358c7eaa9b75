//! What is true of plans that share a guest: the same results as in guests of their own, and of a guest that dies or says too
//! much no result that it did not earn.

use bondlab_core::judge::outcome::Outcome;
use bondlab_core::plan::Plan;
use bondlab_core::plan::lower::lower;
use bondlab_core::report::document::Document;
use bondlab_core::report::snapshot;
use bondlab_core::topology::Topology;
use bondlab_guest::selftest::{PANIC_WORD, STRAY_WORD};
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::runner::{Machine, Member, Rest, carry_out_in_machine, carry_out_shared};
use libtest_mimic::Trial;

use crate::machine::{self, Bench};
use crate::{gallery_folder, pin, shared};

/// Frames are held in a queue when the first of these ends; the same topology again numbers its frames alike.
const HOLDS: &str = "broadcast-port-holds";
const SMALL: &str = "dummy-discards";

type Test = fn(&Bench, &Kernel);

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 3] = [
        ("plans that share a guest come to what they come to in their own", same_as_alone),
        ("a panic in the midst is of that plan alone", panic_in_the_midst),
        ("a record too much is in no account", stray_record),
    ];
    tests
        .into_iter()
        .map(|(name, test)| machine::trial(format!("shared guest: {name}"), pin(), test))
        .collect()
}

/// What ran in the guest, by place, and what has to run elsewhere.
type Ran = (Vec<Document>, Option<Rest>);

struct Plans(Vec<(Topology, Plan)>);

impl Plans {
    /// Topologies of the gallery, each under a name of its own.
    fn of(names: &[&str]) -> Self {
        let read = |(number, name): (usize, &&str)| {
            let path = gallery_folder().join(format!("{name}.toml"));
            let text = std::fs::read_to_string(&path).expect("the gallery can be read");
            let topology = Topology::parse(&format!("{name}-{number}"), &path.display().to_string(), &text);
            let topology = topology.unwrap_or_else(|errors| panic!("{errors}"));
            let plan = lower(&topology);
            assert_eq!(plan.needs_own_guest(), None, "{name}");
            (topology, plan)
        };
        Self(names.iter().enumerate().map(read).collect())
    }

    fn shared(&self, machine: &Machine<'_>) -> Ran {
        let members: Vec<Member<'_>> =
            self.0.iter().map(|(topology, plan)| Member { topology, plan }).collect();
        let mut documents = Vec::new();
        let rest = carry_out_shared(&members, machine, |place, run| {
            assert_eq!(place, documents.len(), "in their order, each once");
            documents.push(run.document);
        });
        (documents, rest)
    }

    fn alone(&self, place: usize, machine: &Machine<'_>) -> Document {
        let (topology, plan) = &self.0[place];
        carry_out_in_machine(topology, plan, machine).expect("a machine starts").document
    }
}

fn with_machine<T>(
    bench: &Bench,
    kernel: &Kernel,
    words: &[String],
    work: impl FnOnce(&Machine<'_>) -> T,
) -> T {
    work(&Machine { words, ..shared::machine(bench, kernel) })
}

fn same_as_alone(bench: &Bench, kernel: &Kernel) {
    let plans = Plans::of(&[HOLDS, HOLDS, SMALL, HOLDS]);
    with_machine(bench, kernel, &[], |machine| {
        let (documents, rest) = plans.shared(machine);
        assert_eq!((documents.len(), rest), (4, None));
        for (place, document) in documents.iter().enumerate() {
            assert_eq!(document.outcome, Outcome::Pass, "{:?}", document.reason);
            assert_eq!(snapshot::text(document), snapshot::text(&plans.alone(place, machine)));
        }
    });
}

fn panic_in_the_midst(bench: &Bench, kernel: &Kernel) {
    let plans = Plans::of(&[SMALL, HOLDS, SMALL]);
    let words = [format!("{PANIC_WORD}{}", plans.0[1].0.name)];
    with_machine(bench, kernel, &words, |machine| {
        let (documents, rest) = plans.shared(machine);
        assert_eq!(documents.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Pass]);
        let rest = rest.expect("the guest has died");
        assert!(rest.from == 1 && rest.why.contains("panic"), "{rest:?}");
        assert_eq!(plans.alone(1, machine).outcome, Outcome::Panic);
        assert_eq!(plans.alone(2, machine).outcome, Outcome::Pass);
    });
}

fn stray_record(bench: &Bench, kernel: &Kernel) {
    let plans = Plans::of(&[SMALL, SMALL, SMALL]);
    let words = [format!("{STRAY_WORD}{}", plans.0[0].0.name)];
    with_machine(bench, kernel, &words, |machine| {
        let (documents, rest) = plans.shared(machine);
        // It comes before the next plan is sent, or is counted with its records.
        let rest = rest.expect("the guest is not to be trusted");
        assert!(rest.from <= 1 && documents.len() == rest.from, "{rest:?}");
        assert!(documents.iter().all(|document| document.outcome == Outcome::Pass));
    });
}
