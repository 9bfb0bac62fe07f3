"""The command line under FSDP2 or DeepSpeed on CPUs: `accelerate launch … sharded.py train …`.

accelerate shards models on accelerators only; on CPUs it leaves the settings of the launch unread
and trains by plain data parallelism. Here its state takes the settings, so that all that it, torch
and DeepSpeed do then is done with two processes and gloo.
"""

from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from core.cli.main import main

begin = AcceleratorState.__init__


def begin_sharded(self, *args, fsdp_plugin=None, deepspeed_plugin=None, **options):
    begin(self, *args, fsdp_plugin=fsdp_plugin, deepspeed_plugin=deepspeed_plugin, **options)
    if fsdp_plugin is not None:
        self.fsdp_plugin, kind = fsdp_plugin, DistributedType.FSDP
    elif deepspeed_plugin is not None:
        from deepspeed import comm

        comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)
        self.deepspeed_plugins, kind = deepspeed_plugin, DistributedType.DEEPSPEED
        deepspeed_plugin.set_mixed_precision("no")
        deepspeed_plugin.select(_from_accelerator_state=True)
    else:
        return
    self.distributed_type = PartialState._shared_state["distributed_type"] = kind


if __name__ == "__main__":
    AcceleratorState.__init__ = begin_sharded
    main()
