#![allow(missing_docs)]
pub mod group {
    use std::sync::Arc;
    #[derive(Clone, Debug)]
    pub struct Group(Arc<[u32]>);
    impl Group {
        pub fn world(n: u32) -> Self {
            Self((0..n).collect())
        }
        pub fn single(r: u32) -> Self {
            Self([r].into())
        }
        pub fn world_rank(&self, r: u32) -> Option<u32> {
            self.0.get(r as usize).copied()
        }
    }
}
pub mod attribute {
    #[derive(Clone, Debug, Default)]
    pub struct Attributes;
    #[derive(Clone, Debug, Default)]
    pub struct KeyvalRegistry;
}
pub mod topology {
    #[derive(Clone, Debug, Default)]
    pub struct Cartesian;
}
pub mod info {
    #[derive(Clone, Debug, Default)]
    pub struct Info;
}
pub mod collective {
    #[derive(Clone, Debug, Default)]
    pub struct Contribution;
}
