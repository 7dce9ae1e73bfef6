"""How the divergences hang together: one is another at the ends of a setting."""

import pytest
import torch

from distillkit.losses import (
    forward_kl,
    jsd,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    soft_cross_entropy,
    total_variation,
)

POSITIONS, CLASSES = 64, 7
at_temperatures = pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, POSITIONS, CLASSES, generator=generator, dtype=torch.float64)
    return logits[0], logits[1]


@at_temperatures
def test_jsd_at_its_ends_is_forward_and_reverse_kl(temperature: float) -> None:
    student, teacher = pair()
    for beta, kl in ((0.0, forward_kl), (1.0, reverse_kl)):
        end = jsd(student, teacher, beta=beta, temperature=temperature)
        torch.testing.assert_close(end, kl(student, teacher, temperature=temperature))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_jsd_goes_to_forward_and_reverse_kl_in_units_of_beta(temperature: float) -> None:
    student, teacher = pair()
    near = 1e-7
    forward = jsd(student, teacher, beta=near, temperature=temperature) / near
    reverse = jsd(student, teacher, beta=1 - near, temperature=temperature) / near
    for limit, kl in ((forward, forward_kl), (reverse, reverse_kl)):
        expected = kl(student, teacher, temperature=temperature)
        torch.testing.assert_close(limit, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("lam", [0.1, 0.5, 0.9])
def test_jsd_is_distillms_at_1_minus_its_lam(lam: float) -> None:
    student, teacher = pair()
    p, q = teacher.softmax(dim=-1), student.softmax(dim=-1)
    m = (1 - lam) * p + lam * q
    theirs = (lam * q * (q / m).log() + (1 - lam) * p * (p / m).log()).sum(dim=-1)
    torch.testing.assert_close(jsd(student, teacher, beta=1 - lam), theirs)


def test_jsd_mirrors_when_student_and_teacher_change_places() -> None:
    student, teacher = pair()
    torch.testing.assert_close(jsd(student, teacher, beta=0.3), jsd(teacher, student, beta=0.7))


@at_temperatures
def test_skew_0_is_the_kl_itself(temperature: float) -> None:
    student, teacher = pair()
    for skewed, kl in ((skew_kl, forward_kl), (skew_reverse_kl, reverse_kl)):
        torch.testing.assert_close(
            skewed(student, teacher, skew=0.0, temperature=temperature),
            kl(student, teacher, temperature=temperature),
        )


def test_skew_1_is_0() -> None:
    student, teacher = pair()
    for skewed in (skew_kl, skew_reverse_kl):
        assert (skewed(student, teacher, skew=1.0) == 0).all()


def test_skewed_kls_change_places_with_student_and_teacher() -> None:
    student, teacher = pair()
    torch.testing.assert_close(
        skew_reverse_kl(student, teacher, skew=0.2), skew_kl(teacher, student, skew=0.2)
    )
    torch.testing.assert_close(reverse_kl(student, teacher), forward_kl(teacher, student))


def test_the_even_jsd_is_the_mean_of_both_skewed_kls_at_a_half() -> None:
    student, teacher = pair()
    both = [f(student, teacher, skew=0.5) for f in (skew_kl, skew_reverse_kl)]
    torch.testing.assert_close(jsd(student, teacher, beta=0.5), torch.stack(both).mean(dim=0))


def test_cross_entropy_is_forward_kl_plus_the_teachers_entropy() -> None:
    student, teacher = pair()
    entropy = soft_cross_entropy(teacher, teacher)
    torch.testing.assert_close(
        soft_cross_entropy(student, teacher), forward_kl(student, teacher) + entropy
    )


def test_pinsker_total_variation_is_bounded_by_both_kls() -> None:
    student, teacher = pair()
    squared = 2 * total_variation(student, teacher) ** 2
    assert (squared <= forward_kl(student, teacher)).all()
    assert (squared <= reverse_kl(student, teacher)).all()
    assert (total_variation(student, teacher) <= 1).all()
