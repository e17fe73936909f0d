//! What the targets share.

/// Up to `N` files that were joined by the byte 0, which stands in no text that is worth reading;
/// those that are missing are `None`.
pub fn files<const N: usize>(input: &[u8]) -> [Option<&[u8]>; N] {
    let mut files = input.splitn(N, |&byte| byte == 0);
    [(); N].map(|()| files.next())
}
