//! Who is it: the authentication schemes and ACL checks.
