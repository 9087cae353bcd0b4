//! The lock of an adapter: one run at a time measures on it.
//!
//! A lock is one on a file, which the kernel releases when the process that holds
//! it ends, however that comes about. Whoever measures beside others all the same
//! holds a second file, together with all who do so: the one that meant to be alone
//! sees them there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gpu::adapter::AdapterDescription;
use crate::record;

/// Names another folder for the locks, for containers that share an adapter but no
/// folder for temporary files.
pub const FOLDER_VARIABLE: &str = "FLOPWATT_LOCKS";

/// How often a lock is tried again.
const TRIED_EVERY: Duration = Duration::from_millis(200);
/// Drivers choose their names, and files have short ones.
const LONGEST_KEY: usize = 100;
/// What is read of a file that anybody may write.
const MOST_READ: u64 = 4096;
/// What a file begins with in which a [`Holder`] stands.
const HOLDER: &[u8] = b"{\"pid\":";
/// What is shown of a command.
const MOST_SHOWN: usize = 120;

/// The locks of a machine's adapters.
#[derive(Clone, Debug)]
pub struct Locks {
    folder: PathBuf,
}

/// An adapter that this process may measure on.
#[derive(Debug)]
pub enum AdapterLock {
    /// Nobody else is to measure on it.
    Alone {
        /// Locked for this process.
        held: File,
        /// Locked by whoever measures on it all the same. One thread at a time takes a
        /// look: a lock that is tried twice at once may do anything.
        guests: Mutex<File>,
    },
    /// Others may measure on it as well.
    Shared {
        /// Locked together with others; none where the folder takes no file.
        guest: Option<File>,
    },
}

/// Sees whether an adapter is shared for a while.
#[derive(Debug)]
pub struct Sharing<'a> {
    lock: &'a AdapterLock,
    at_begin: bool,
    /// Guests write into their file when they come.
    last_guest: Option<SystemTime>,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pid: u32,
    since: Timestamp,
    command: String,
}

/// An adapter that somebody else measures on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    adapter: String,
    /// By whom, where that can be read.
    holder: Option<Holder>,
}

/// Why an adapter cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else measures on it.
    #[error(
        "{0}. Wait for it with --wait, or measure beside it with --shared, which flags every \
         figure"
    )]
    Held(InUse),
    /// The lock's file cannot be used.
    #[error(
        "cannot lock {}: {cause}. {FOLDER_VARIABLE} names another folder, and --shared measures \
         without a lock, which flags every figure",
        .path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The wait was interrupted.
    #[error("interrupted while waiting for the adapter")]
    Interrupted,
}

impl Locks {
    /// Those of this machine, in a folder that all of its users may write to.
    pub fn of_this_machine() -> Self {
        let named = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
        Self::in_folder(named.map_or_else(usual_folder, PathBuf::from))
    }

    /// Those in `folder`.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Takes the lock of `adapter`, at once or not at all.
    ///
    /// # Errors
    /// When somebody else measures on it, or there can be no lock.
    pub fn alone(&self, adapter: &AdapterDescription) -> Result<AdapterLock, LockError> {
        let in_use = |holder| {
            LockError::Held(InUse {
                adapter: adapter.summary(),
                holder,
            })
        };
        let path = self.path(adapter, "lock");
        let mut held = open(&path)?;
        if is_locked(held.try_lock(), &path)? {
            return Err(in_use(Holder::named_in(&held)));
        }
        let path = self.path(adapter, "shared");
        let guests = open(&path)?;
        if has_guests(&guests, &path)? {
            return Err(in_use(Holder::named_in(&guests)));
        }
        Holder::this_process().sign(&mut held);
        Ok(AdapterLock::Alone {
            held,
            guests: Mutex::new(guests),
        })
    }

    /// Waits for the lock of `adapter`. `go_on` hears why, again and again, and ends
    /// the wait with false.
    ///
    /// # Errors
    /// When the wait was ended, or there can be no lock.
    pub fn wait(
        &self,
        adapter: &AdapterDescription,
        go_on: &mut dyn FnMut(&InUse) -> bool,
    ) -> Result<AdapterLock, LockError> {
        loop {
            match self.alone(adapter) {
                Err(LockError::Held(in_use)) => {
                    if !go_on(&in_use) {
                        return Err(LockError::Interrupted);
                    }
                    thread::sleep(TRIED_EVERY);
                }
                taken => return taken,
            }
        }
    }

    /// Measures on `adapter` whoever else does. Where the folder takes no file,
    /// nobody can be told, nor keep this process away.
    pub fn shared(&self, adapter: &AdapterDescription) -> AdapterLock {
        let guest = || -> Option<File> {
            let mut guest = open(&self.path(adapter, "shared")).ok()?;
            Holder::this_process().sign(&mut guest);
            // Whoever is alone takes a look at this lock for a moment.
            guest.lock_shared().ok()?;
            Some(guest)
        };
        AdapterLock::Shared { guest: guest() }
    }

    fn path(&self, adapter: &AdapterDescription, kind: &str) -> PathBuf {
        self.folder
            .join(format!("flopwatt-{}.{kind}", key(adapter)))
    }
}

/// The lock of each of `adapters`, one for all that compute on the same hardware, as
/// `take` has it. They are taken in the same order by whoever takes several: nobody
/// holds one that another waits for who holds what is waited for here.
///
/// # Errors
/// The first of `take`.
pub fn of_each<E>(
    adapters: &[AdapterDescription],
    mut take: impl FnMut(&AdapterDescription) -> Result<AdapterLock, E>,
) -> Result<Vec<Arc<AdapterLock>>, E> {
    let distinct: BTreeMap<String, &AdapterDescription> = adapters
        .iter()
        .map(|adapter| (key(adapter), adapter))
        .collect();
    let mut locks = BTreeMap::new();
    for (key, adapter) in distinct {
        locks.insert(key, Arc::new(take(adapter)?));
    }
    let each = adapters
        .iter()
        .map(|adapter| Arc::clone(&locks[&key(adapter)]));
    Ok(each.collect())
}

/// What is locked, as a part of a file's name: the hardware, by whichever driver it
/// is reached. All software adapters compute on the same processors.
fn key(adapter: &AdapterDescription) -> String {
    if adapter.is_software() {
        return "cpu".to_owned();
    }
    let plain = |c: char| match c {
        _ if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
        '.' => c,
        _ => '-',
    };
    let name = adapter.physical_device.chars().map(plain);
    name.take(LONGEST_KEY).collect()
}

/// A folder that every user of the machine may write to and that a restart
/// may empty.
fn usual_folder() -> PathBuf {
    if cfg!(windows) {
        let folder = std::env::var_os("ProgramData");
        return folder.map_or_else(|| r"C:\ProgramData".into(), PathBuf::from);
    }
    // Not $TMPDIR, which users have of their own.
    PathBuf::from("/tmp")
}

/// Opens the file, or makes one that every user can open.
fn open(path: &Path) -> Result<File, LockError> {
    let found = match existing(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match created(path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(path),
            created => created,
        },
        found => found,
    };
    found.map_err(io_error(path))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    move |cause| LockError::Io { path, cause }
}

/// Opens a file that is there, without leave to create one: in a folder for all,
/// Linux refuses that leave for files of others (`fs.protected_regular`). A lock
/// needs no more than reading; who holds it is then not written down.
fn existing(path: &Path) -> io::Result<File> {
    let file = match options().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options().open(path),
        opened => opened,
    }?;
    if is_a_lock(&file)? {
        return Ok(file);
    }
    Err(io::Error::other(
        "it is no lock of flopwatt, and is left as it is",
    ))
}

/// Whether a file may be emptied: a regular one under no other name, in which nothing
/// stands, or who held it.
fn is_a_lock(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || has_other_names(&metadata) {
        return Ok(false);
    }
    let mut begin = Vec::new();
    let read = file.take(HOLDER.len() as u64).read_to_end(&mut begin);
    match read.and_then(|_| {
        let mut file = file;
        file.rewind()
    }) {
        Ok(()) => Ok(begin.is_empty() || begin == HOLDER),
        // Windows does not let a locked file be read.
        Err(_) if cfg!(windows) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn has_other_names(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    metadata.nlink() > 1
}

#[cfg(not(unix))]
fn has_other_names(_metadata: &Metadata) -> bool {
    false
}

fn created(path: &Path) -> io::Result<File> {
    let file = options().write(true).create_new(true).open(path)?;
    for_all_users(&file)?;
    Ok(file)
}

/// What anybody may have put into the folder is neither followed nor waited for.
#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;

    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits() as i32);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// The umask does not count: another user's run must be able to say who it is.
#[cfg(unix)]
fn for_all_users(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    file.set_permissions(PermissionsExt::from_mode(0o666))
}

#[cfg(not(unix))]
fn for_all_users(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Whether somebody else holds what was tried.
fn is_locked(tried: Result<(), TryLockError>, path: &Path) -> Result<bool, LockError> {
    match tried {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(cause)) => Err(io_error(path)(cause)),
    }
}

/// What a panic elsewhere left is whole: a file.
fn looking(guests: &Mutex<File>) -> MutexGuard<'_, File> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anybody measures beside whoever is alone.
fn has_guests(guests: &File, path: &Path) -> Result<bool, LockError> {
    let locked = is_locked(guests.try_lock(), path)?;
    if !locked {
        guests.unlock().map_err(io_error(path))?;
    }
    Ok(locked)
}

impl AdapterLock {
    /// Begins to look whether the adapter is shared.
    pub fn watch(&self) -> Sharing<'_> {
        Sharing {
            lock: self,
            at_begin: self.is_shared(),
            last_guest: self.last_guest(),
        }
    }

    /// Whether others measure on the adapter, or cannot be told from none.
    fn is_shared(&self) -> bool {
        match self {
            Self::Alone { guests, .. } => {
                has_guests(&looking(guests), Path::new("")).unwrap_or(true)
            }
            Self::Shared { .. } => true,
        }
    }

    fn last_guest(&self) -> Option<SystemTime> {
        match self {
            Self::Alone { guests, .. } => looking(guests).metadata().ok()?.modified().ok(),
            Self::Shared { .. } => None,
        }
    }
}

/// A process that is killed leaves its name behind, which nobody reads until the
/// next one has written its own.
impl Drop for AdapterLock {
    fn drop(&mut self) {
        if let Self::Alone { held, .. } = self {
            let _ = held.set_len(0);
        }
    }
}

impl Sharing<'_> {
    /// Whether others have measured on the adapter since the beginning.
    pub fn was_shared(&self) -> bool {
        self.at_begin || self.lock.is_shared() || self.lock.last_guest() != self.last_guest
    }
}

impl Holder {
    fn this_process() -> Self {
        Self {
            pid: std::process::id(),
            since: Timestamp::now(),
            command: record::command_line().join(" "),
        }
    }

    /// Writes itself down. A file that belongs to another user may not take it; the
    /// lock counts all the same.
    fn sign(&self, file: &mut File) {
        let mut write = || -> io::Result<()> {
            let text = serde_json::to_string(self)?;
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(text.as_bytes())
        };
        let _ = write();
    }

    /// Who has written itself down. Windows does not let a locked file be read.
    fn named_in(file: &File) -> Option<Self> {
        let mut text = String::new();
        file.take(MOST_READ).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in use: ", self.adapter)?;
        match &self.holder {
            Some(holder) => write!(f, "{holder} measures on it"),
            None => f.write_str("another process measures on it"),
        }
    }
}

/// The command may have been written by anybody.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let mut command: String = self.command.chars().take(MOST_SHOWN).map(visible).collect();
        if command.len() < self.command.len() {
            command += "…";
        }
        let since = self.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "\"{command}\" (process {}, since {since})", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::adapter::{Backend, DeviceType};

    fn adapter(device_type: DeviceType, physical_device: &str) -> AdapterDescription {
        let text = include_str!("../../tests/data/adapter.json");
        let any: AdapterDescription = serde_json::from_str(text).unwrap();
        AdapterDescription {
            device_type,
            physical_device: physical_device.into(),
            ..any
        }
    }

    fn gpu() -> AdapterDescription {
        adapter(DeviceType::DiscreteGpu, "pci:0000:01:00.0")
    }

    fn locks() -> (tempfile::TempDir, Locks) {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::in_folder(folder.path());
        (folder, locks)
    }

    #[test]
    fn an_adapter_is_locked_under_every_backend_and_others_are_not() {
        let (_folder, locks) = locks();
        let held = locks.alone(&gpu()).unwrap();
        let through_gl = AdapterDescription {
            backend: Backend::Gl,
            driver: "another".into(),
            ..gpu()
        };
        let refused = locks.alone(&through_gl).unwrap_err().to_string();
        let this = format!("(process {}, since ", std::process::id());
        assert!(refused.contains(&this), "{refused}");
        assert!(
            refused.contains("--wait") && refused.contains("--shared"),
            "{refused}"
        );
        let other = adapter(DeviceType::DiscreteGpu, "pci:0000:02:00.0");
        locks.alone(&other).unwrap();
        drop(held);
        locks.alone(&through_gl).unwrap();
    }

    #[test]
    fn software_adapters_share_the_processors() {
        let (_folder, locks) = locks();
        let _held = locks
            .alone(&adapter(DeviceType::Cpu, "10005:0000 llvmpipe"))
            .unwrap();
        let other = adapter(DeviceType::Cpu, "1ae0:c0de swiftshader device");
        assert!(matches!(locks.alone(&other), Err(LockError::Held(_))));
    }

    #[test]
    fn several_adapters_are_locked_in_one_order_and_the_processors_once() {
        let (_folder, locks) = locks();
        let adapters = [
            adapter(DeviceType::DiscreteGpu, "pci:0000:02:00.0"),
            adapter(DeviceType::Cpu, "10005:0000 llvmpipe"),
            gpu(),
            adapter(DeviceType::Cpu, "1ae0:c0de swiftshader device"),
        ];
        let mut order = Vec::new();
        let each = of_each(&adapters, |adapter| {
            order.push(key(adapter));
            locks.alone(adapter)
        });
        let each = each.unwrap();
        assert_eq!(order, ["cpu", "pci-0000-01-00.0", "pci-0000-02-00.0"]);
        assert!(Arc::ptr_eq(&each[1], &each[3]) && !Arc::ptr_eq(&each[0], &each[2]));
        assert!(!each[1].watch().was_shared());
        drop(each);
        let _second = locks.alone(&gpu()).unwrap();
        assert!(of_each(&adapters, |adapter| locks.alone(adapter)).is_err());
        locks.alone(&adapters[1]).unwrap();
    }

    #[test]
    fn guests_keep_others_from_being_alone_and_are_seen_by_whoever_was() {
        let (_folder, locks) = locks();
        let alone = locks.alone(&gpu()).unwrap();
        let undisturbed = alone.watch();
        assert!(!undisturbed.was_shared());
        let guest = locks.shared(&gpu());
        assert!(guest.watch().was_shared());
        assert!(undisturbed.was_shared(), "while the guest is there");
        let with_guest = alone.watch();
        drop(guest);
        assert!(with_guest.was_shared(), "the guest was there at its begin");
        assert!(undisturbed.was_shared(), "the guest has come and gone");
        assert!(!alone.watch().was_shared());
        drop(alone);
        let _guests = [locks.shared(&gpu()), locks.shared(&gpu())];
        assert!(matches!(locks.alone(&gpu()), Err(LockError::Held(_))));
    }

    #[test]
    fn a_wait_ends_with_the_lock_or_when_it_is_told() {
        let (_folder, locks) = locks();
        let mut held = Some(locks.alone(&gpu()).unwrap());
        let interrupted = locks.wait(&gpu(), &mut |_| false);
        assert!(matches!(interrupted, Err(LockError::Interrupted)));
        let mut told = Vec::new();
        let taken = locks.wait(&gpu(), &mut |in_use| {
            told.push(in_use.to_string());
            held = None;
            true
        });
        assert!(taken.is_ok() && told.len() == 1, "{told:?}");
        assert!(told[0].ends_with(" measures on it"), "{told:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_no_obstacle_to_sharing() {
        let (folder, _) = locks();
        let locks = Locks::in_folder(folder.path().join("nowhere"));
        let refused = locks.alone(&gpu()).unwrap_err().to_string();
        assert!(
            refused.contains("nowhere") && refused.contains(FOLDER_VARIABLE),
            "{refused}"
        );
        let shared = locks.shared(&gpu());
        assert!(matches!(shared, AdapterLock::Shared { guest: None }));
        assert!(shared.watch().was_shared());
    }

    #[test]
    fn what_steers_a_terminal_is_not_shown() {
        let holder = Holder {
            pid: 7,
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
            command: format!("\u{1b}[2Jrun {}", "x".repeat(200)),
        };
        let shown = holder.to_string();
        let (begin, end) = (
            "\"\u{fffd}[2Jrun ",
            "x…\" (process 7, since 2026-01-02 03:04:05 UTC)",
        );
        assert!(shown.starts_with(begin) && shown.ends_with(end), "{shown}");
        assert!(shown.len() < 200);
    }

    /// A link could make an administrator's run empty any file, and a pipe without a
    /// reader could make it wait for ever.
    #[cfg(unix)]
    #[test]
    fn links_and_what_is_no_file_are_refused() {
        let (folder, locks) = locks();
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        let path = locks.path(&gpu(), "lock");
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(matches!(locks.alone(&gpu()), Err(LockError::Io { .. })));
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(locks.alone(&gpu()), Err(LockError::Io { .. })));
    }

    /// A hard link could make an administrator's run empty any file as well.
    #[cfg(unix)]
    #[test]
    fn what_is_not_a_lock_is_refused_and_never_emptied() {
        let (folder, locks) = locks();
        let precious = folder.path().join("precious");
        for text in ["precious", "{\"pid\":", ""] {
            std::fs::write(&precious, text).unwrap();
            for kind in ["lock", "shared"] {
                let path = locks.path(&gpu(), kind);
                let _ = std::fs::remove_file(&path);
                std::fs::hard_link(&precious, &path).unwrap();
                let error = locks.alone(&gpu()).unwrap_err().to_string();
                assert!(error.contains("no lock of flopwatt"), "{error}");
                drop(locks.shared(&gpu()));
                assert_eq!(std::fs::read_to_string(&precious).unwrap(), text);
                std::fs::remove_file(&path).unwrap();
            }
        }
        let path = locks.path(&gpu(), "lock");
        std::fs::write(&path, "notes of a user").unwrap();
        assert!(matches!(locks.alone(&gpu()), Err(LockError::Io { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes of a user");
        // What a run that was killed has left.
        std::fs::write(
            &path,
            serde_json::to_string(&Holder::this_process()).unwrap(),
        )
        .unwrap();
        locks.alone(&gpu()).unwrap();
    }

    /// As a file of another user without leave to write would be; an administrator
    /// may write all the same.
    #[cfg(unix)]
    #[test]
    fn a_file_that_can_only_be_read_is_locked_and_new_ones_are_for_all_users() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, locks) = locks();
        drop(locks.alone(&gpu()).unwrap());
        let path = locks.path(&gpu(), "lock");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
        let _held = locks.alone(&gpu()).unwrap();
        assert!(matches!(locks.alone(&gpu()), Err(LockError::Held(_))));
    }
}
