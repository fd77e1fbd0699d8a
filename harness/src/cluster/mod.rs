//! A campaign on machines that a scheduler gives out.
//!
//! Users who outgrow a machine have a scheduler already. What is submitted are plain files
//! that they can read and change ([`sbatch`]); the scheduler runs `inflight check --shard I/N`
//! and its like, and what these write is all that counts ([`crate::campaign::unit`]). So
//! nothing here has to be running for a campaign to go on.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`plan`] | what a campaign is to do, as it is written into its folder |
//! | [`sbatch`] | the files that are submitted |
//! | [`slurm`] | Slurm's own commands |

pub mod plan;
pub mod sbatch;
pub mod slurm;
