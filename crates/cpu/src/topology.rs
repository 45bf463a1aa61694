//! How many workers to use unless told otherwise: the physical cores this process may use.
//!
//! Two hyperthreads of one core share its vector units and its path to memory, which is what the
//! operations wait for; a second worker on a core only makes the first one slower. So threads of
//! the same core count once. Affinity masks and the quota of a control group limit the number
//! further, so that a container with 4 of 64 cores gets 4 workers. On Apple machines only
//! performance cores count, since every operation ends with its slowest worker.
//!
//! Where the system does not tell, the standard library's count of hardware threads is used.

/// Workers for this process, at least one.
pub(crate) fn default_workers() -> usize {
    // Knows affinity and, on Linux, the quotas of both versions of control groups, but no cores.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    system::cores().map_or(threads, |cores| cores.clamp(1, threads))
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::read_to_string;

    /// Cores of which this thread may use at least one hardware thread.
    pub(super) fn cores() -> Option<usize> {
        let status = read_to_string("/proc/thread-self/status").ok()?;
        let allowed = super::linux::allowed(&status)?;
        let cores = super::linux::count_cores(&allowed, |cpu| {
            let place = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            read_to_string(place).ok()
        });
        Some(cores)
    }
}

#[cfg(target_os = "macos")]
mod system {
    use std::ffi::c_int;

    /// Performance cores; on machines with one kind of core, all of them.
    pub(super) fn cores() -> Option<usize> {
        let mut cores: c_int = 0;
        let mut size = size_of::<c_int>();
        // SAFETY: the name ends with a zero, and the kernel writes at most `size` bytes, which
        // `cores` has.
        let failed = unsafe {
            libc::sysctlbyname(
                c"hw.perflevel0.physicalcpu".as_ptr(),
                (&raw mut cores).cast(),
                &raw mut size,
                std::ptr::null_mut(),
                0,
            )
        };
        if failed != 0 || size != size_of::<c_int>() {
            return None;
        }
        usize::try_from(cores).ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod system {
    pub(super) fn cores() -> Option<usize> {
        None
    }
}

/// What Linux says in text files.
#[cfg(any(target_os = "linux", test))]
mod linux {
    use std::collections::BTreeSet;

    /// More than any kernel is built for; a list with a larger number is not one of CPUs.
    const MOST_CPUS: u32 = 1 << 16;

    /// The CPUs a thread may use, by its `status` file.
    pub(super) fn allowed(status: &str) -> Option<Vec<u32>> {
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        parse_list(list)
    }

    /// How many cores `cpus` belong to; `siblings` is the kernel's list of the CPUs that share a
    /// core with a CPU. A CPU without such a list counts as a core.
    pub(super) fn count_cores(cpus: &[u32], siblings: impl Fn(u32) -> Option<String>) -> usize {
        let first_sibling = |&cpu: &u32| {
            siblings(cpu)
                .and_then(|list| parse_list(&list)?.into_iter().min())
                .unwrap_or(cpu)
        };
        cpus.iter()
            .map(first_sibling)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// CPUs in a list like `0-3,8,10-11`.
    fn parse_list(list: &str) -> Option<Vec<u32>> {
        let mut cpus = Vec::new();
        for part in list.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            if first > last || last >= MOST_CPUS {
                return None;
            }
            cpus.extend(first..=last);
        }
        Some(cpus)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn lists_of_cpus() {
            let check = |list: &str, expect: Option<&[u32]>| {
                assert_eq!(parse_list(list).as_deref(), expect, "{list:?}");
            };
            check("0\n", Some(&[0]));
            check("0-3,8,10-11\n", Some(&[0, 1, 2, 3, 8, 10, 11]));
            check("7,71", Some(&[7, 71]));
            for broken in [
                "",
                "\n",
                "a",
                "1,",
                "-3",
                "3-1",
                "1-2-3",
                "0-4294967295",
                "70000",
            ] {
                check(broken, None);
            }
        }

        #[test]
        fn affinity_in_a_status_file() {
            let status = "Name:\tds4\nThreads:\t1\nCpus_allowed:\tff,0000000f\n\
                          Cpus_allowed_list:\t0-3,32-39\nMems_allowed_list:\t0-1\n";
            let expect = [0, 1, 2, 3, 32, 33, 34, 35, 36, 37, 38, 39];
            assert_eq!(allowed(status).as_deref(), Some(&expect[..]));
            assert_eq!(allowed("Name:\tds4\n"), None);
            assert_eq!(allowed("Cpus_allowed_list:\tall\n"), None);
        }

        /// A server of two sockets with 32 cores each: CPU n and n + 64 are the threads of core n.
        fn server(cpu: u32) -> Option<String> {
            let core = cpu % 64;
            Some(format!("{core},{}\n", core + 64))
        }

        /// A desktop processor: 8 cores of two threads each, then 16 small cores of one.
        fn hybrid(cpu: u32) -> Option<String> {
            Some(match cpu {
                0..16 => format!("{}-{}\n", cpu & !1, cpu | 1),
                _ => format!("{cpu}\n"),
            })
        }

        #[test]
        fn threads_of_a_core_count_once() {
            let check = |cpus: &str, siblings: fn(u32) -> Option<String>, expect: usize| {
                let cpus = parse_list(cpus).expect("a list of CPUs");
                assert_eq!(count_cores(&cpus, siblings), expect, "{cpus:?}");
            };
            check("0-127", server, 64);
            check("0-63", server, 64);
            check("64-127", server, 64);
            check("0-3,64-67", server, 4);
            check("5,69", server, 1);
            check("69", server, 1);
            check("0-31", hybrid, 24);
            check("0,2,4,6", hybrid, 4);
            check("14-17", hybrid, 3);
            check("0-7", |_| None, 8);
            check("0-7", |_| Some("garbage".into()), 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_core_and_no_more_than_its_threads() {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=threads).contains(&default_workers()));
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        assert!(system::cores().is_some_and(|cores| cores > 0));
    }
}
