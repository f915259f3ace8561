"""What every model promises, on grey and on colour images."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load, save
from torch import Tensor

from bench import registry
from bench.checks import NotPromised, expect
from bench.checks.subjects import BATCH, Case, Subject, changed, expect_images, few_digits, noise, snapshot, watched
from bench.contract import (
    Autoencodes,
    Classifies,
    Conditional,
    Draws,
    Generates,
    ImageSpec,
    Infers,
    Unsupported,
    Update,
    condition_of,
    eval_mode,
)
from bench.models import model_class, training_defaults
from bench.optimizers import Optimizers, TrainingOptions
from bench.study.catalogue import catalogue
from bench.study.types import describe, fits
from bench.training import no_update, train

SIGNS = {  # what tells that a model can do something, whether its class line names it or not
    Generates: ("codes", "sample"),
    Autoencodes: ("encode",),
    Infers: ("posterior",),
    Draws: ("canvases",),
    Classifies: ("classify",),
    Conditional: ("condition",),
}


def subject(name: str) -> Subject:
    """The model ``name``."""
    return Subject(model_class(name), registry.load("models", name).__doc__ or "", training_defaults(name))


def check_the_docstring_names_its_source(model: Subject) -> None:
    """The file's docstring says where the system is from: an address, an arXiv number or a DOI."""
    named = any(word in model.source for word in ("http", "arXiv", "doi"))
    expect(named, "the file's docstring must name the paper, by its address, arXiv number or DOI")


def check_hyperparameters_are_typed_keywords_with_defaults_that_fit(model: Subject) -> None:
    """The constructor takes ``spec`` and then keywords alone, each with a type and a default that is of it."""
    parameters = inspect.signature(model.kind).parameters.values()
    others = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    expect(others == ["spec"], f"the constructor must take spec and, after *, keywords; not {', '.join(others)}")
    untyped = ", ".join(p.name for p in parameters if p.annotation is p.empty)
    expect(not untyped, f"{untyped}: must have a type, as in latent_dim: int = 2")
    for name, option in model.options.items():
        expect(option.default is not inspect.Parameter.empty, f"{name}: must have a default")
        expect(fits(option.default, option.type), f"{name} = {option.default!r}: must be {describe(option.type)}")


def check_a_setting_has_one_meaning(model: Subject) -> None:
    """No hyperparameter has the name of a setting of training, data or evaluation, so that ``--set`` needs no section."""
    for section, options in catalogue().options.items():
        taken = ", ".join(sorted(set(model.options) & set(options)))
        expect(not taken, f"{taken}: [{section}] has a setting of that name; give the hyperparameter another")


def check_training_holds_training_options(model: Subject) -> None:
    """``TRAINING`` holds options of training by their names, with values that fit, or tables of them by player."""
    known = catalogue()
    options = known.options["training"]
    for key, value in model.training.items():
        for name, each in value.items() if isinstance(value, Mapping) else [(key, value)]:
            right = sorted(known.player_options if isinstance(value, Mapping) else options)
            expect(name in right, f"TRAINING: {registry.unknown('option of training', name, right)}")
            kind = options[name].type
            expect(fits(each, kind), f"TRAINING: {name} = {each!r}: must be {describe(kind)}")


def check_the_class_line_names_what_it_can_do(model: Subject) -> None:
    """What a model can do stands in its class line: pictures, metrics and applications ask for nothing else."""
    for case in model.cases():
        for capability, signs in SIGNS.items():
            has = [sign for sign in signs if sign in dir(case.model)]
            named = issubclass(model.kind, capability)
            line = f"class {model.kind.__name__}(Model, ..., {capability.__name__})"
            expect(named or not has, f"it has {' and '.join(has)}, which nothing will use: write {line}")


def check_players_share_out_the_parameters(model: Subject) -> None:
    """Every parameter belongs to one player and to no other."""
    for case in model.cases():
        owners: dict[int, list[str]] = {}
        for player, part in case.model.players().items():
            for parameter in part.parameters():
                owners.setdefault(id(parameter), []).append(player)
        for name, parameter in case.model.named_parameters():
            found = owners.pop(id(parameter), [])
            expect(len(found) == 1, f"{name} must belong to one player, not to {' and '.join(found) or 'none'}")
        expect(not owners, "a player has parameters that the model has not: make it an attribute of the model")


def check_loss_terms_are_finite_numbers(model: Subject) -> None:
    """``step`` returns its loss terms by name, each a finite scalar."""
    for case in model.cases():
        terms = _terms(case, no_update)
        expect(terms, "step returns no terms")
        for name, value in terms.items():
            expect(isinstance(value, Tensor), f"{case.where}: {name} must be a Tensor, not {type(value).__name__}")
            expect(value.ndim == 0, f"{case.where}: {name} must be a scalar, not of shape {list(value.shape)}")
            expect(value.isfinite(), f"{case.where}: {name} is {value.item()}")


def check_an_update_moves_its_player_and_no_other(model: Subject) -> None:
    """Every call of ``update`` moves the player it names and no other, and every player has its call."""
    for case in model.cases():
        update, moved = watched(case.model)
        case.model.step(case.batch, update)
        idle = ", ".join(sorted(set(case.model.players()) - moved))
        expect(not idle, f"step never calls update for {idle}")


def check_a_step_runs_in_bfloat16(model: Subject) -> None:
    """Under autocast the terms stay finite and the parameters float32."""
    for case in model.cases():
        optimizers = Optimizers(case.model, TrainingOptions())
        with torch.autocast("cpu", torch.bfloat16):
            terms = _terms(case, optimizers.update)
        for name, value in terms.items():
            expect(value.isfinite(), f"{case.where}: {name} is {value.item()} in bfloat16; take losses of .float()")
        kept = all(parameter.dtype == torch.float32 for parameter in case.model.parameters())
        expect(kept, f"{case.where}: parameters must stay float32")


def check_looking_leaves_no_trace(model: Subject) -> None:
    """In eval mode, a step without an update and a sample change no parameter, no buffer and no random state."""
    for case in model.cases():
        before, random = snapshot(case.model), torch.get_rng_state()
        with eval_mode(case.model):
            case.model.step(case.batch, no_update)
            if isinstance(case.model, Generates):
                case.model.sample(BATCH, case.condition)
        moved = changed(before, case.model)
        expect(not moved, f"{case.where}: {moved} changes in eval mode, in which nothing may")
        expect(torch.equal(random, torch.get_rng_state()), f"{case.where}: the random state changes in eval mode")


def check_samples_are_images_and_follow_the_seed(model: Subject) -> None:
    """``sample`` makes float32 images in [0, 1] of the data's shape, the same of one seed and others of another."""
    for case in model.cases(Generates):
        assert isinstance(case.model, Generates)
        drawn = []
        for seed in (3, 3, 4):
            with eval_mode(case.model, seed):
                drawn.append(case.model.sample(BATCH, case.condition))
        expect_images(drawn[0], case, "sample")
        expect(torch.equal(drawn[0], drawn[1]), f"{case.where}: one seed makes two samples; draw with torch alone")
        expect(not torch.equal(drawn[0], drawn[2]), f"{case.where}: two seeds make the same sample")


def check_codes_decode_to_images(model: Subject) -> None:
    """Codes of the prior and codes of images have one shape, and ``decode`` makes images of both."""
    if not issubclass(model.kind, Generates | Autoencodes):
        raise NotPromised("its class line names neither Generates nor Autoencodes")
    for case in model.cases():
        assert isinstance(case.model, Generates | Autoencodes)
        with eval_mode(case.model):
            found = case.codes()
            shapes = {name: list(z.shape) for name, z in found.items()}
            for name, z in found.items():
                right = len(z) == BATCH and z.is_floating_point()  # whole numbers have nothing between them
                expect(right, f"{case.where}: {name} must make {BATCH} codes of floats, not {z.dtype} {shapes[name]}")
            alike = len({tuple(shape) for shape in shapes.values()}) == 1
            expect(alike, f"{case.where}: codes of the prior and of images must have one shape, not {shapes}")
            for name, z in found.items():
                expect_images(case.model.decode(z, case.condition), case, f"decode of {name}")


def check_an_image_has_one_code(model: Subject) -> None:
    """``encode`` gives the same codes of the same images: where they are distributions their means, without noise."""
    for case in model.cases(Autoencodes):
        with eval_mode(case.model):
            same = torch.equal(case.codes()["encode"], case.codes()["encode"])
        expect(same, f"{case.where}: encode gives other codes the second time; it must give the mean, without noise")


def check_the_code_is_the_posteriors_mean(model: Subject) -> None:
    """``posterior`` gives mean and log-variance of one shape, finite, and ``encode`` gives that mean."""
    for case in model.cases(Infers):
        assert isinstance(case.model, Infers)
        with eval_mode(case.model):
            mean, log_variance = case.model.posterior(case.batch.images, case.condition)
            codes = case.model.encode(case.batch.images, case.condition)
        expect(torch.equal(mean, codes), f"{case.where}: encode is another code than the posterior's mean")
        shapes = f"{list(mean.shape)} and {list(log_variance.shape)}"
        expect(mean.shape == log_variance.shape, f"{case.where}: mean and log-variance have shapes {shapes}")
        expect(log_variance.isfinite().all(), f"{case.where}: the log-variance is not finite")


def check_canvases_end_in_the_image(model: Subject) -> None:
    """Every one of ``canvases`` is an image, and the last is what ``decode`` makes of the same codes."""
    for case in model.cases(Draws):
        assert isinstance(case.model, Draws)
        with eval_mode(case.model):
            for z in case.codes().values():
                canvases = case.model.canvases(z, case.condition)
                image = case.model.decode(z, case.condition)
                shape = list(canvases.shape)
                expect(len(shape) == 5, f"{case.where}: canvases must be [T, B, C, H, W], not {shape}")
                for canvas in canvases:
                    expect_images(canvas, case, "a canvas")
                expect(torch.equal(canvases[-1], image), f"{case.where}: the last canvas is not the decoded image")


def check_classes_have_logits(model: Subject) -> None:
    """``classify`` gives finite logits, one for each class of the data set."""
    for case in model.cases(Classifies):
        assert isinstance(case.model, Classifies)
        with eval_mode(case.model):
            logits = case.model.classify(case.batch.images)
        found, right = list(logits.shape), [BATCH, len(case.spec.classes)]
        expect(found == right, f"{case.where}: logits must be {right}, not {found}")
        expect(logits.isfinite().all(), f"{case.where}: the logits are not finite")


def check_samples_follow_the_condition(model: Subject) -> None:
    """Told other labels, or another left half, it makes other images of the same noise."""
    for case, _ in model.told("labels", "left_half"):
        if not isinstance(case.model, Generates):
            raise NotPromised("its class line does not name Generates")
        drawn = []
        for label in (2, 7):
            batch = noise(case.spec, [label] * BATCH, seed=label)
            with eval_mode(case.model, seed=1):
                drawn.append(case.model.sample(BATCH, condition_of(case.model, batch)))
        first, second = drawn
        apart, reach = (first - second).abs().max(), max(first.max(), second.max()) - min(first.min(), second.min())
        # Of what its images reach from end to end: an untrained model's may all be near one grey.
        expect(apart > 1e-3 * reach, f"{case.where}: samples are the same whatever it is told")


def check_the_loss_follows_the_label(model: Subject) -> None:
    """Told other labels of the same images, at least one loss term is another."""
    for case, _ in model.told("labels"):
        terms = []
        for labels in (range(BATCH), range(BATCH)[::-1]):
            with eval_mode(case.model, seed=1):
                terms.append(case.model.step(noise(case.spec, labels), no_update))
        same = all(torch.isclose(terms[0][name], terms[1][name]) for name in terms[0])
        expect(not same, f"{case.where}: no loss term changes with the labels")


def check_labels_need_classes(model: Subject) -> None:
    """A model that is told labels, or tells classes, refuses images without classes with `Unsupported`, before training."""
    classifies = issubclass(model.kind, Classifies)
    for case, settings in [(case, {}) for case in model.cases()] if classifies else model.told("labels"):
        try:
            model.build(ImageSpec(*case.spec.shape), **settings)
        except Unsupported:
            continue
        expect(False, f"{case.where}: images without classes must be Unsupported; say so in the constructor")


def check_weights_travel_as_safetensors(model: Subject) -> None:
    """Saved and loaded again, every parameter and buffer is what it was."""
    for case in model.cases():
        expected = snapshot(case.model)
        try:
            saved = save({name: value.contiguous() for name, value in case.model.state_dict().items()})
        except RuntimeError as error:
            expect(False, f"{case.where}: safetensors cannot save it: {' '.join(str(error).split())}")
        with torch.no_grad():
            for parameter in case.model.parameters():
                parameter.zero_()
        case.model.load_state_dict(load(saved))
        lost = changed(expected, case.model)
        expect(not lost, f"{case.where}: {lost} is lost on the way")


def check_an_interrupted_training_ends_bit_equal(model: Subject) -> None:
    """Stopped in its second epoch and resumed from its checkpoint, a training ends as one that was left alone."""
    options = TrainingOptions.from_settings({**model.training, "epochs": 2, "batch_size": 12})
    case = model.cases()[0]
    data = few_digits(case.spec)
    expected = list(train(case.model, data, options, seed=3))
    with TemporaryDirectory() as folder:
        stopped = train(model.build(case.spec), data, options, seed=3, folder=Path(folder), checkpoint_seconds=0)
        for _ in range(3):  # epoch 0, epoch 1, and epoch 2, whose checkpoint is not written yet
            next(stopped)
        stopped.close()
        resumed = model.build(case.spec)
        torch.manual_seed(99)
        found = list(train(resumed, data, options, seed=3, folder=Path(folder)))
    same = [(p.train, p.held_out) for p in found] == [(p.train, p.held_out) for p in expected]
    lost = changed(snapshot(case.model), resumed) or ("" if same else "a loss")
    expect(not lost, f"{lost} ends otherwise than undisturbed: keep all state in buffers, and draw with torch alone")


def _terms(case: Case, update: Update) -> dict[str, Tensor]:
    """What a step returns, if it is loss terms by name."""
    terms = case.model.step(case.batch, update)
    right = "step must return its loss terms by name, as {'loss': loss}"
    expect(isinstance(terms, Mapping), f"{case.where}: {right}, not {type(terms).__name__}")
    return terms
