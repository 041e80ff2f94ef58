"""Weights to bundles: conversion of the face models, parity checks, packaging and signing."""
