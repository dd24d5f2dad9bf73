//! The key that signs access tokens where none is configured: made at the first start, kept
//! beside the database, read back ever after, so that tokens survive a restart.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::TryRngCore;
use rand::rngs::OsRng;
use secrecy::SecretString;

use crate::config::MIN_KEY_BYTES;

/// The name of the file.
const FILE_NAME: &str = "jwt_secret_key";

/// Only the service's own user may read the file.
const MODE: u32 = 0o600;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretKeyError {
    /// The file is there, but not readable.
    #[error("the kept key {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, but nobody's key.
    #[error(
        "the kept key {} has fewer than {MIN_KEY_BYTES} bytes: remove the file to have a new one made, which ends all access tokens",
        path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
    },
    /// A new key could not be kept.
    #[error("the key {} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The key that is kept in this folder, made now if there is none.
pub(crate) fn keep_in(folder: &Path) -> Result<SecretString, SecretKeyError> {
    let path = folder.join(FILE_NAME);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    create(&path).map_err(|source| SecretKeyError::Write {
        path: path.clone(),
        source,
    })?;
    // Another process may have been faster: what is kept counts, not what was made.
    read(&path)?.ok_or_else(|| SecretKeyError::Read {
        path,
        source: io::ErrorKind::NotFound.into(),
    })
}

fn read(path: &Path) -> Result<Option<SecretString>, SecretKeyError> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim_end().len() < MIN_KEY_BYTES => Err(SecretKeyError::TooShort {
            path: path.to_owned(),
        }),
        Ok(text) => Ok(Some(SecretString::from(text.trim_end()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecretKeyError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a new key beside its place and links it there: the file appears whole or not at all,
/// and never in the place of another.
fn create(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_file_name(format!(".{FILE_NAME}.{}", random_hex::<8>()?));
    let created = write(&draft, &random_hex::<32>()?).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft).ok();
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

fn write(path: &Path, key: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    writeln!(file, "{key}")?;
    file.sync_all()
}

/// So many random bytes, two characters each.
fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    let mut hex = String::with_capacity(2 * BYTES);
    for byte in bytes {
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();

        let made = keep_in(folder.path()).unwrap();
        assert_eq!(made.expose_secret().len(), 64);
        assert!(
            made.expose_secret()
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit())
        );

        let file = folder.path().join("jwt_secret_key");
        let permissions = fs::metadata(&file).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);

        let again = keep_in(folder.path()).unwrap();
        assert_eq!(made.expose_secret(), again.expose_secret());

        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "the draft is gone");
    }

    #[test]
    fn two_folders_have_two_keys() {
        let [one, two] = [(); 2].map(|()| {
            let folder = tempfile::tempdir().unwrap();
            keep_in(folder.path()).unwrap()
        });
        assert_ne!(one.expose_secret(), two.expose_secret());
    }

    #[test]
    fn of_many_makers_at_once_all_get_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<String> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| keep_in(folder.path()).unwrap()))
                .collect();
            let join = |maker: std::thread::ScopedJoinHandle<'_, SecretString>| {
                maker.join().unwrap().expose_secret().to_owned()
            };
            makers.into_iter().map(join).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_kept_file_that_is_no_key_is_an_error_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwt_secret_key");
        fs::write(&file, "too-short-a-secret\n").unwrap();
        let error = keep_in(folder.path()).unwrap_err();
        assert!(matches!(error, SecretKeyError::TooShort { .. }));
        let line = error.to_string();
        assert!(line.contains(file.to_str().unwrap()), "{line}");
        assert!(
            !line.contains("too-short-a-secret") && !line.contains('\n'),
            "{line}"
        );
    }

    #[test]
    fn a_kept_file_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("jwt_secret_key")).unwrap();
        let error = keep_in(folder.path()).unwrap_err();
        assert!(matches!(error, SecretKeyError::Read { .. }), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_made_and_one_that_cannot_be_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        keep_in(&folder.path().join("new")).unwrap();
        let error = keep_in(&folder.path().join("new/jwt_secret_key/no")).unwrap_err();
        assert!(matches!(error, SecretKeyError::Read { .. }), "{error}");
    }
}
