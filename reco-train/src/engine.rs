//! [`Engine`]: where a model is fitted.

use std::num::NonZeroUsize;

#[cfg(feature = "wgpu")]
use crate::error::{Error, Result};

/// Where a model is fitted. The same configuration and seed give the same model on each, within the
/// tolerances that each trainer states.
#[derive(Debug, Clone)]
pub enum Engine {
    /// The hand-written kernels of this crate, on so many threads.
    Cpu {
        /// Number of threads.
        threads: NonZeroUsize,
    },
    /// A Burn device.
    #[cfg(feature = "burn")]
    Burn(burn::tensor::Device),
}

impl Engine {
    /// The kernels on so many threads; 0 counts as 1.
    #[must_use]
    pub fn cpu(threads: usize) -> Self {
        Self::Cpu {
            threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
        }
    }

    /// Burn's own CPU device.
    #[cfg(feature = "burn")]
    #[must_use]
    pub fn flex() -> Self {
        Self::Burn(burn::tensor::Device::flex())
    }

    /// The GPU that wgpu prefers, by whichever of Vulkan, Metal, DirectX and OpenGL the machine has.
    ///
    /// It may be a software adapter where there is no GPU. The device is opened once in a process, when this
    /// is first called; so is the failure to open it.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceUnavailable`] if there is no adapter, or if the host has opened the device itself: it
    /// has it then, and wraps it in [`Engine::Burn`].
    #[cfg(feature = "wgpu")]
    pub fn wgpu() -> Result<Self> {
        use std::sync::OnceLock;

        // A second `init` of the same device is an error in Burn.
        static DEVICE: OnceLock<Result<burn::tensor::Device, String>> = OnceLock::new();
        let init = || {
            burn::tensor::Device::wgpu_options()
                .init()
                .map_err(|error| error.to_string())
        };
        match DEVICE.get_or_init(init) {
            Ok(device) => Ok(Self::Burn(device.clone())),
            Err(reason) => Err(Error::DeviceUnavailable {
                device: "wgpu".to_owned(),
                reason: reason.clone(),
            }),
        }
    }
}
