from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train: make test-wan")
if any(find_spec(name) is None for name in ("diffsynth", "accelerate", "peft")):
    pytest.skip("needs the extra train: make test-wan", allow_module_level=True)

import tiny_training
from tiny_training import tiny

from ex4d.generate.wan import video_model
from ex4d.generate.wan.adapter import read_adapter
from ex4d.training import journal, loop
from ex4d.training.distillation import CRITIC, STUDENT, TEACHER, Distillation, draft_sigmas
from ex4d.training.network import training_library
from ex4d.training.result import LORA, write_adapter, write_lora
from ex4d.training.settings import DistilSettings

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # of the libraries

SETTINGS = DistilSettings(steps=10, batch=1, rate=1e-2, warm_up=0, rank=tiny.RANK, every=5, average=0.0)


@pytest.fixture
def learner():
    """The distillation of an adapter with random weights."""
    network = tiny_training.network()
    tensors = tiny.adapter_tensors()
    with torch.no_grad():
        for name, weight in network.trained().items():
            weight.copy_(tensors[name])
    return Distillation(network, tiny.prompts().negative, SETTINGS)


def predicted(learner, role):
    sample = tiny_training.encoded(4)
    with torch.no_grad():
        return learner._predict(
            learner.pipe,
            getattr(learner.pipe, role),
            timestep=torch.tensor([600.0]),
            inputs_shared={
                "latents": sample.video,
                "y": sample.y,
                "clip_feature": sample.feature,
                "camera": learner.network.camera_tokens(sample.colour, sample.mask),
            },
            inputs_posi={"context": sample.prompt},
        )


def distil(learner, out, material=None):
    accelerator = training_library().accelerate.Accelerator(cpu=True)
    return loop.train(
        learner,
        material or tiny_training.Few(),
        SETTINGS,
        out,
        accelerator,
        lambda weights: write_lora(out, learner.student(weights)),
        say=lambda sentence: None,
    )


def test_student_and_critic_begin_as_the_teacher_who_stays_as_it_was(learner, tmp_path):
    before = {role: predicted(learner, role) for role in (TEACHER, STUDENT, CRITIC)}
    assert torch.equal(before[STUDENT], before[TEACHER])
    assert torch.equal(before[CRITIC], before[TEACHER])
    distil(learner, tmp_path)
    assert torch.equal(predicted(learner, TEACHER), before[TEACHER])
    for role in (STUDENT, CRITIC):
        assert (predicted(learner, role) - before[role]).norm() / before[role].norm() > 0.01
    assert not torch.equal(predicted(learner, STUDENT), predicted(learner, CRITIC))


def test_each_step_changes_the_one_whose_turn_it_is(learner, tmp_path):
    seen = []

    class Watching(tiny_training.Few):
        def training(self, number):
            seen.append({name: weight.detach().clone() for name, weight in learner.trained().items()})
            return super().training(number)

    distil(learner, tmp_path, Watching())
    states = [*seen, learner.trained()]
    for step in range(SETTINGS.steps):
        turn = STUDENT if step % 5 == 0 else CRITIC
        moved = {name for name in states[0] if not torch.equal(states[step][name], states[step + 1][name])}
        assert moved
        assert all(f".{turn}." in name for name in moved), step
    assert len(journal.read(tmp_path)) == SETTINGS.steps


def test_gradients_of_the_student_are_those_without_checkpointing(learner):
    gradients = []
    for checkpointing in (True, False):
        learner.network.checkpointing = checkpointing
        learner.begin(0)
        learner(tiny_training.encoded(), 5).backward()
        gradients.append({n: w.grad.clone() for n, w in learner.trained().items() if w.grad is not None})
        for weight in learner.trained().values():
            weight.grad = None
    assert gradients[0].keys() == gradients[1].keys() == {n for n in learner.trained() if f".{STUDENT}." in n}
    assert all(torch.allclose(gradients[0][n], gradients[1][n], atol=1e-7) for n in gradients[0])
    assert max(float(gradient.abs().max()) for gradient in gradients[0].values()) > 0


def test_the_student_is_taught_the_steps_that_a_draft_takes():
    scheduler = tiny.pipeline().scheduler
    scheduler.set_timesteps(4, denoising_strength=1.0, shift=5.0)
    assert draft_sigmas() == pytest.approx([*scheduler.sigmas.tolist(), 0.0])


def test_the_generator_makes_drafts_with_what_comes_out(learner, tmp_path):
    distil(learner, tmp_path)
    layers, notes = video_model.read_distilled(tmp_path / LORA, tiny_training.dit())
    assert layers.keys() == tiny.SHAPE.lora_modules().keys()
    assert "changes 20 layers." in notes[0]
    # The generator merges both; its prediction is then the student's.
    tensors = tiny.adapter_tensors()
    write_adapter(tmp_path, tensors)
    adapter = read_adapter(tmp_path / "ex4d.ckpt", tiny.SHAPE, tiny.HIDDEN)
    pipe = tiny.pipeline()
    pipe.dit = tiny_training.dit()
    models = video_model.assemble(pipe, adapter, "reference", [adapter.lora_layers(), layers])
    sample = tiny_training.encoded(4)
    with torch.no_grad():
        camera = models.encoder(sample.colour, sample.mask)
        inputs = video_model._Inputs(sample.y, sample.feature, camera, torch.zeros(0))
        with video_model._predictor(models, inputs) as predict:
            drafted = predict(sample.video, torch.tensor([600.0]), sample.prompt)
    student = predicted(learner, STUDENT)
    assert (drafted - student).norm() / student.norm() < 1e-5
    assert (drafted - predicted(learner, TEACHER)).norm() / student.norm() > 0.01
