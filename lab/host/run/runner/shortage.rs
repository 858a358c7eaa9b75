//! A shortage of the lab's own, as an agent meets it: it says nothing of the kernel.

use bondlab_core::plan::record::{OpError, Record};

/// Names and numbers (errno(3)) of what an agent itself runs out of: descriptors of the system, and of its own.
const DESCRIPTORS: [(&str, i32); 2] = [("ENFILE", 23), ("EMFILE", 24)];

/// In a machine this may be the kernel's own answer to what a topology asks. On the running kernel it cannot be distinguished from a
/// machine that has no memory left.
const MEMORY: (&str, i32) = ("ENOMEM", 12);

/// What was tried when the agent ran out of something.
pub(super) fn find(backend: &str, records: &[Record]) -> Option<String> {
    let is_here = backend == "host";
    let short = DESCRIPTORS.into_iter().chain(is_here.then_some(MEMORY));
    let short: Vec<(&str, i32)> = short.collect();
    let failed = |error: &OpError| {
        let is_short = error.errno.as_deref().is_some_and(|name| short.iter().any(|(it, _)| *it == name))
            || error.text.as_deref().is_some_and(|text| says_one_of(text, &short));
        is_short.then(|| error.to_string())
    };
    records.iter().find_map(|record| match record {
        Record::OpFailed { error, .. } => failed(error),
        Record::Pod { failed: network, left, .. } => {
            network.iter().map(|(_, error)| error).chain(left).find_map(failed)
        }
        Record::Missing { what } => what.iter().find(|what| says_one_of(what, &short)).cloned(),
        _ => None,
    })
}

/// Whether a text has the name of one as a word, or ends as `std::io::Error` does.
fn says_one_of(text: &str, short: &[(&str, i32)]) -> bool {
    short.iter().any(|(name, number)| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word == *name) || text.contains(&format!("(os error {number})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(errno: Option<&str>, text: Option<&str>) -> Record {
        let error = OpError { what: "bind".into(), errno: errno.map(Into::into), text: text.map(Into::into) };
        Record::OpFailed { trial: 0, op: 0, error, is_unsupported: false }
    }

    #[rstest::rstest]
    #[case(failed(Some("EMFILE"), None), true, true)]
    #[case(failed(None, Some("Too many open files (os error 24)")), true, true)]
    #[case(failed(None, Some("Too many open files in system (os error 23)")), true, true)]
    #[case(failed(Some("ENOMEM"), None), true, false)]
    #[case(failed(None, Some("Cannot allocate memory (os error 12)")), true, false)]
    #[case(failed(Some("EINVAL"), Some("option EMFILES")), false, false)]
    #[case(failed(None, Some("No such device (os error 19)")), false, false)]
    #[case(Record::Missing { what: vec!["veth: EMFILE".into()] }, true, true)]
    #[case(Record::Missing { what: vec!["veth".into()] }, false, false)]
    fn a_shortage_is_no_answer_of_the_kernel(
        #[case] record: Record,
        #[case] here: bool,
        #[case] in_a_machine: bool,
    ) {
        let records = [Record::TrialStarted { trial: 0 }, record];
        assert_eq!(find("host", &records).is_some(), here);
        assert_eq!(find("vm", &records).is_some(), in_a_machine);
    }
}
