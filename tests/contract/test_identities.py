"""How the divergences hang together: one is another at the ends of a setting."""

import pytest
import torch

from distillkit.losses import (
    akl,
    alpha_beta,
    dkd,
    forward_kl,
    jsd,
    list_mle,
    rank_net,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
    soft_cross_entropy,
    standardised_kl,
    taid,
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


@at_temperatures
def test_alpha_beta_at_its_corners_is_forward_and_reverse_kl(temperature: float) -> None:
    student, teacher = pair()
    for alpha, beta, kl in ((1.0, 0.0, forward_kl), (0.0, 1.0, reverse_kl)):
        corner = alpha_beta(student, teacher, alpha=alpha, beta=beta, temperature=temperature)
        torch.testing.assert_close(corner, kl(student, teacher, temperature=temperature))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_alpha_beta_goes_to_its_corners(power: float) -> None:
    student, teacher = pair()
    for at, near in (((power, 0.0), (power, 1e-6)), ((0.0, power), (1e-6, power))):
        corner, by_it = (alpha_beta(student, teacher, alpha=a, beta=b) for a, b in (at, near))
        torch.testing.assert_close(by_it, corner, rtol=1e-4, atol=1e-8)


def test_alpha_beta_of_halves_is_4_times_hellingers_distance_squared() -> None:
    student, teacher = pair()
    roots = (logits.softmax(dim=-1).sqrt() for logits in (student, teacher))
    hellinger = 1 - torch.stack(list(roots)).prod(dim=0).sum(dim=-1)
    torch.testing.assert_close(alpha_beta(student, teacher, alpha=0.5, beta=0.5), 4 * hellinger)


def test_alpha_beta_of_ones_is_half_the_squared_distance() -> None:
    student, teacher = pair()
    p, q = teacher.softmax(dim=-1), student.softmax(dim=-1)
    expected = 0.5 * (p - q).square().sum(dim=-1)
    torch.testing.assert_close(alpha_beta(student, teacher, alpha=1.0, beta=1.0), expected)


def test_alpha_beta_mirrors_when_student_and_teacher_change_places() -> None:
    student, teacher = pair()
    torch.testing.assert_close(
        alpha_beta(student, teacher, alpha=0.3, beta=0.8),
        alpha_beta(teacher, student, alpha=0.8, beta=0.3),
    )


@at_temperatures
def test_kl_is_tckd_plus_nckd_by_what_the_teacher_leaves_the_others(temperature: float) -> None:
    student, teacher = pair()
    labels = torch.arange(POSITIONS) % CLASSES
    tckd, nckd = (
        dkd(student, teacher, labels, alpha=a, beta=1.0 - a, temperature=temperature)
        for a in (1.0, 0.0)
    )
    p = (teacher / temperature).softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    expected = forward_kl(student, teacher, temperature=temperature)
    torch.testing.assert_close(tckd + (1 - p) * nckd, expected)


def test_dkd_without_a_label_takes_the_teachers_first_class() -> None:
    student, teacher = pair()
    unknown = torch.full((POSITIONS,), -1)
    torch.testing.assert_close(
        dkd(student, teacher, unknown), dkd(student, teacher, teacher.argmax(dim=-1))
    )


def test_akl_lies_between_forward_and_reverse_kl() -> None:
    student, teacher = pair()
    ends = torch.stack([forward_kl(student, teacher), reverse_kl(student, teacher)])
    value = akl(student, teacher)
    assert (ends.amin(dim=0) - 1e-9 <= value).all()
    assert (value <= ends.amax(dim=0) + 1e-9).all()
    whole = akl(student, teacher, head_mass=1.1)  # the sum of all is 1 but for rounding
    torch.testing.assert_close(whole, forward_kl(student, teacher))


def test_taid_is_0_at_the_student_and_forward_kl_at_the_teacher() -> None:
    student, teacher = pair()
    assert (taid(student, teacher, t=0.0) == 0).all()
    torch.testing.assert_close(taid(student, teacher, t=1.0), forward_kl(student, teacher))


def test_standardised_kl_knows_neither_scale_nor_place_of_the_logits() -> None:
    student, teacher = pair()
    torch.testing.assert_close(
        standardised_kl(3 * student - 1, 0.2 * teacher + 5), standardised_kl(student, teacher)
    )
    torch.testing.assert_close(
        standardised_kl(0.5 * teacher + 1, teacher), torch.zeros(POSITIONS).double()
    )


def test_the_order_of_two_classes_is_their_softmax() -> None:
    student, teacher = (logits[:, :2] for logits in pair())
    torch.testing.assert_close(rank_net(student, teacher), forward_kl(student, teacher))


def test_the_first_place_is_the_cross_entropy_to_the_teachers_first_class() -> None:
    student, teacher = pair()
    expected = torch.nn.functional.cross_entropy(student, teacher.argmax(dim=-1), reduction="none")
    torch.testing.assert_close(list_mle(student, teacher, top=1), expected)


def test_the_likelihoods_of_all_orders_add_up_to_1() -> None:
    student = pair()[0][:4, :4]
    orders = torch.cartesian_prod(*[torch.arange(4.0)] * 4)
    orders = orders[[len(set(order.tolist())) == 4 for order in orders]]
    likelihoods = [(-list_mle(student, order.expand(4, 4))).exp() for order in orders]
    assert len(likelihoods) == 24
    torch.testing.assert_close(torch.stack(likelihoods).sum(dim=0), torch.ones(4).double())


def test_skew_kl_is_distillms_less_the_teachers_entropy() -> None:
    """The official code leaves out a constant: other values, the same gradients."""
    student, teacher = pair()
    student.requires_grad_()
    p, q = teacher.softmax(dim=-1), student.softmax(dim=-1)
    official = -(p * (0.1 * p + 0.9 * q).log()).sum(dim=-1)
    ours = skew_kl(student, teacher, skew=0.1)
    entropy = -(p * p.log()).sum(dim=-1)
    torch.testing.assert_close(ours, official - entropy)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), student), torch.autograd.grad(official.sum(), student)
    )


@pytest.mark.parametrize("small", [1e-4, 1e-6, 1e-9, 1e-20])
def test_alpha_beta_goes_to_its_limits_in_float32(small: float) -> None:
    """Divided by alpha * beta, what is rounded would be the whole value."""
    student, teacher = (logits.float() for logits in pair())
    for settings, limit in (
        ({"alpha": 1.5, "beta": small}, {"alpha": 1.5, "beta": 0.0}),
        ({"alpha": small, "beta": 1.5}, {"alpha": 0.0, "beta": 1.5}),
    ):
        found = alpha_beta(student, teacher, **settings)
        exact = alpha_beta(student.double(), teacher.double(), **settings)
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
        end = alpha_beta(student.double(), teacher.double(), **limit)
        torch.testing.assert_close(exact, end, rtol=20 * small + 1e-12, atol=20 * small + 1e-12)
