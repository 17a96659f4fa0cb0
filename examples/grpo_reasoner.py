"""TRL's own GRPOTrainer on the built-in reasoner, paid by our severity reward.

    python examples/grpo_reasoner.py PHOTOGRAPHS OUT STEPS

Needs the extra `train`. A row holds the views that the reasoner takes of a damaged region (`images`), the prompt as
messages, and the true Diagnosis (`truth`), which TRL hands to every reward. Any Qwen3-VL folder will do for "built-in".
"""

import sys
from pathlib import Path

from trl import GRPOConfig, GRPOTrainer

from rnr.reasoner import Reasoner
from rnr.rl.reasoning import dataset
from rnr.rl.rewards import format_reward, severity_reward

photographs, out, steps = sys.argv[1:]
reasoner = Reasoner.from_pretrained("built-in")
arguments = GRPOConfig(
    output_dir=out, max_steps=int(steps), num_generations=2, per_device_train_batch_size=2, max_completion_length=224,
    learning_rate=1e-5, logging_steps=1, report_to="none", remove_unused_columns=False, use_cpu=True, bf16=False,
    gradient_checkpointing=False, multi_objective_aggregation="normalize_then_sum",
)  # fmt: skip
trainer = GRPOTrainer(
    model=reasoner.model.train(), processing_class=reasoner.processor, args=arguments,
    reward_funcs=[format_reward, severity_reward], train_dataset=dataset(Path(photographs), 4, 0, reasoner),
)  # fmt: skip
trainer.train()
print(trainer.state.log_history)
