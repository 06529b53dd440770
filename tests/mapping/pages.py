"""The vendors' own lists, copied from their pages: what tables must cover, and how tests expect it to be judged."""

# ruff: noqa: SIM905 - as words the lists read like the pages

from __future__ import annotations

#: Phase Two's documented access types.
ACCESS_TYPES = """
    LOGIN REGISTER LOGOUT CODE_TO_TOKEN REFRESH_TOKEN SOCIAL_LINK REMOVE_SOCIAL_LINK UPDATE_EMAIL UPDATE_PROFILE
    SEND_RESET_PASSWORD UPDATE_PASSWORD UPDATE_TOTP REMOVE_TOTP SEND_VERIFY_EMAIL VERIFY_EMAIL
""".split()

#: Keycloak 26.7's user event types; each has an _ERROR twin.
KEYCLOAK_TYPES = """
    LOGIN REGISTER LOGOUT CODE_TO_TOKEN CLIENT_LOGIN REFRESH_TOKEN VALIDATE_ACCESS_TOKEN INTROSPECT_TOKEN
    FEDERATED_IDENTITY_LINK REMOVE_FEDERATED_IDENTITY UPDATE_EMAIL UPDATE_PROFILE UPDATE_PASSWORD UPDATE_TOTP
    VERIFY_EMAIL VERIFY_PROFILE REMOVE_TOTP GRANT_CONSENT UPDATE_CONSENT REVOKE_GRANT SEND_VERIFY_EMAIL
    SEND_RESET_PASSWORD SEND_IDENTITY_PROVIDER_LINK RESET_PASSWORD RESTART_AUTHENTICATION INVALID_SIGNATURE
    REGISTER_NODE UNREGISTER_NODE USER_INFO_REQUEST IDENTITY_PROVIDER_LINK_ACCOUNT IDENTITY_PROVIDER_LOGIN
    IDENTITY_PROVIDER_FIRST_LOGIN IDENTITY_PROVIDER_POST_LOGIN IDENTITY_PROVIDER_RESPONSE
    IDENTITY_PROVIDER_RETRIEVE_TOKEN IMPERSONATE CUSTOM_REQUIRED_ACTION EXECUTE_ACTIONS EXECUTE_ACTION_TOKEN
    CLIENT_INFO CLIENT_REGISTER CLIENT_UPDATE CLIENT_DELETE CLIENT_INITIATED_ACCOUNT_LINKING TOKEN_EXCHANGE
    OAUTH2_DEVICE_AUTH OAUTH2_DEVICE_VERIFY_USER_CODE OAUTH2_DEVICE_CODE_TO_TOKEN AUTHREQID_TO_TOKEN
    PERMISSION_TOKEN DELETE_ACCOUNT PUSHED_AUTHORIZATION_REQUEST USER_DISABLED_BY_PERMANENT_LOCKOUT
    USER_DISABLED_BY_TEMPORARY_LOCKOUT OAUTH2_EXTENSION_GRANT FEDERATED_IDENTITY_OVERRIDE_LINK INVITE_ORG
    UPDATE_CREDENTIAL REMOVE_CREDENTIAL USER_SESSION_DELETED VERIFIABLE_CREDENTIAL_REQUEST
    VERIFIABLE_CREDENTIAL_OFFER_REQUEST VERIFIABLE_CREDENTIAL_NONCE_REQUEST VERIFIABLE_CREDENTIAL_CREATE_OFFER
    VERIFIABLE_CREDENTIAL_PRE_AUTHORIZED_GRANT JWT_AUTHORIZATION_GRANT
""".split()

#: Keycloak 26.7's admin resource types.
KEYCLOAK_RESOURCES = """
    REALM REALM_ROLE REALM_ROLE_MAPPING REALM_SCOPE_MAPPING AUTH_FLOW AUTH_EXECUTION_FLOW AUTH_EXECUTION
    AUTHENTICATOR_CONFIG REQUIRED_ACTION IDENTITY_PROVIDER IDENTITY_PROVIDER_MAPPER PROTOCOL_MAPPER USER
    USER_LOGIN_FAILURE USER_SESSION USER_FEDERATION_PROVIDER USER_FEDERATION_MAPPER GROUP GROUP_MEMBERSHIP
    CLIENT CLIENT_INITIAL_ACCESS_MODEL CLIENT_ROLE CLIENT_ROLE_MAPPING CLIENT_SCOPE CLIENT_SCOPE_MAPPING
    CLIENT_SCOPE_CLIENT_MAPPING CLUSTER_NODE COMPONENT AUTHORIZATION_RESOURCE_SERVER AUTHORIZATION_RESOURCE
    AUTHORIZATION_SCOPE AUTHORIZATION_POLICY CUSTOM USER_PROFILE REQUIRED_ACTION_CONFIG ORGANIZATION
    ORGANIZATION_MEMBERSHIP ORGANIZATION_GROUP ORGANIZATION_GROUP_MEMBERSHIP
""".split()

KEYCLOAK_OPERATIONS = ["CREATE", "UPDATE", "DELETE", "ACTION"]

#: Keycloak's error codes.
KEYCLOAK_ERRORS = """
    invalid_request realm_disabled client_not_found client_disabled invalid_client_credentials invalid_client
    unauthorized_client consent_denied resolve_required_actions user_not_found user_disabled
    user_temporarily_disabled invalid_user_credentials different_user_authenticating
    different_user_authenticated user_delete_error username_missing username_in_use email_in_use
    invalid_redirect_uri invalid_code invalid_token invalid_token_type invalid_saml_response
    invalid_authn_request invalid_logout_request invalid_logout_response invalid_artifact
    invalid_artifact_response saml_token_not_found invalid_signature invalid_registration invalid_issuer
    invalid_form invalid_config expired_code invalid_input cookie_not_found registration_disabled
    reset_credential_disabled rejected_by_user not_allowed federated_identity_account_exists ssl_required
    user_session_not_found session_expired email_send_failed invalid_email identity_provider_login_failure
    identity_provider_error password_confirm_error password_missing password_rejected code_verifier_missing
    invalid_code_verifier pkce_verification_failed invalid_code_challenge_method not_logged_in
    unknown_identity_provider illegal_origin display_unsupported logout_failed invalid_destination
    missing_required_destination invalid_saml_document unsupported_nameid_format invalid_permission_ticket
    access_denied invalid_oauth2_device_code expired_oauth2_device_code invalid_oauth2_user_code slow_down
    generic_authentication_error credential_not_found missing_credential_id delete_credential_failed
    invalid_dpop_proof invalid_authentication_session email_already_verified token_introspection_failed
    org_not_found user_org_member_already already_logged_in invalid_user
""".split()

#: OneWelcome's page "Event types", in its order.
ONEWELCOME_NUMBERS = """
    101 102 103 105 106 107 109 111 151 152 153 154 155 157 161 162 163 164 165 166 167 168 169 201 202 203 204
    205 301 302 311 303 304 305 306 307 308 313 314 401 402 403 404 405 406 407 408 409 410 411 412 413 414 415
    416 419 420 421 422 423 424 425 426 427 428 429 430 437 438 441 442 445 446 447 448 451 452 455 456 457 458
    460 461 462 463 464 465 501 502 503 506 507 508 509 510 511 601 602 603 605 650 801 802 805 806 901 1001
    1002 1050 1051
""".split()

#: Those whose text says that it failed, ran out or was declined.
ONEWELCOME_FAILURES = """
    102 111 157 161 163 164 165 167 168 169 202 407 414 416 422 423 425 426 428 430 438 442 446 448 452 455 456 457
    458 465
""".split()

#: Those whose text says only that something was checked, asked for or noticed.
ONEWELCOME_UNKNOWN = ["107", "154", "204", "205", "463", "901"]

#: Frontegg's page "Logged events": status of its table, type, description; then unified type and reason.
MAGIC_LINK_ROWS = [
    ("success", "login.completed", "User is logged in succesfully", "LOGIN", None),
    (
        "success",
        "login.email_sent",
        "User has been sent with magic link/code as part of the login process",
        "SEND_OTP",
        None,
    ),
    (
        "success",
        "login.sms_sent",
        "User has been sent with magic link/code as part of the login process",
        "SEND_OTP",
        None,
    ),
    ("success", "email_verification.sent", "User has been sent with verification email", "SEND_VERIFY_EMAIL", None),
    ("success", "email_verification.completed", "User has completed the verification flow", "VERIFY_EMAIL", None),
    (
        "success",
        "password_reset.email_sent",
        "User has been sent with reset password email",
        "SEND_RESET_PASSWORD",
        None,
    ),
    ("success", "password_reset.completed", "User has reset their password", "UPDATE_PASSWORD", None),
    ("success", "password_breach.email_sent", "Sent an email on breached password", "SEND_PASSWORD_BREACH", None),
    ("success", "signup.completed", "Signup has completed successfull", "REGISTER", None),
    ("error", "login.invalid_email", "Could not find email in users list", "LOGIN_ERROR", "unknown_user"),
    (
        "error",
        "login.invalid_password",
        "The password entered do not match the stored password",
        "LOGIN_ERROR",
        "bad_credentials",
    ),
    ("error", "login.invalid_session", "Could not find user with session", "LOGIN_ERROR", "session_invalid"),
    (
        "error",
        "lockout_policy.limit_reached",
        "User has reached lockout policy limits",
        "USER_DISABLED_BY_TEMPORARY_LOCKOUT",
        None,
    ),
    ("error", "user.locked", "User has passed the lockout policy limits and cannot login", "LOGIN_ERROR", "locked"),
    ("error", "user.locked", "User is locked and cannot login", "LOGIN_ERROR", "locked"),
    ("error", "recaptcha_policy.validation_failed", "User reCaptcha check failed", "LOGIN_ERROR", "captcha_failed"),
    (
        "error",
        "ip_policy.validation_failed",
        "User has failed IP policy verification and cannot login",
        "LOGIN_ERROR",
        "policy_denied",
    ),
    ("error", "magic_link.failed", "Link used for login was not found used already", "LOGIN_ERROR", "code_invalid"),
    ("error", "magic_link.failed", "Link used for login is expired", "LOGIN_ERROR", "code_expired"),
    (
        "error",
        "magic_link.failed",
        "Magic link was used from a different device it was requested from",
        "LOGIN_ERROR",
        "device_mismatch",
    ),
    ("error", "magic_code.failed", "One time code used was not found", "LOGIN_ERROR", "code_invalid"),
    ("error", "magic_code.failed", "One time code used is expired", "LOGIN_ERROR", "code_expired"),
    ("error", "email_verification.failed", "User has failed verification flow", "VERIFY_EMAIL_ERROR", "unspecified"),
    (
        "error",
        "password_reset.failed",
        "User has failed to reset their password",
        "UPDATE_PASSWORD_ERROR",
        "unspecified",
    ),
    (
        "info",
        "login.email_sent",
        "User has been sent with magic link/code as part of the login process",
        "SEND_OTP",
        None,
    ),
    (
        "info",
        "login.sms_sent",
        "User has been sent with magic link/code as part of the login process",
        "SEND_OTP",
        None,
    ),
    ("info", "email_verification.sent", "User has been sent with verification email", "SEND_VERIFY_EMAIL", None),
    ("info", "email_verification.completed", "User has completed the verification flow", "VERIFY_EMAIL", None),
    ("info", "password_reset.email_sent", "User has been sent with reset password email", "SEND_RESET_PASSWORD", None),
    ("info", "password_reset.completed", "User has reset their password", "UPDATE_PASSWORD", None),
    ("info", "password_breach.email_sent", "Sent an email on breached password", "SEND_PASSWORD_BREACH", None),
]

#: The audit service's page "User Access": type; then unified type and outcome.
AUDIT_ROWS = [
    ("OTP_GENERATED", "CREATE_OTP", "success"),
    ("OTP_SENT", "SEND_OTP", "success"),
    ("OTP_VALIDATION_SUCCESS", "VALIDATE_OTP", "success"),
    ("OTP_VALIDATION_FAILED", "VALIDATE_OTP_ERROR", "failure"),
    ("LOGIN_ATTEMPT", "LOGIN_ATTEMPT", "unknown"),
    ("LOGIN_SUCCESSFUL", "LOGIN", "success"),
    ("LOGIN_FAILED", "LOGIN_ERROR", "failure"),
    ("MULTIPLE_LOGIN_FAILED", "MULTIPLE_LOGIN_FAILED", "unknown"),
    ("UNUSUAL_LOGIN_LOCATION", "UNUSUAL_LOGIN_LOCATION", "unknown"),
    ("LOGOUT_ATTEMPT", "LOGOUT_ATTEMPT", "unknown"),
    ("LOGOUT_SUCCESSFUL", "LOGOUT", "success"),
    ("LOGOUT_UNSUCCESSFUL", "LOGOUT_ERROR", "failure"),
    ("FORCED_LOGOUT", "LOGOUT", "success"),
    ("SESSION_CREATION_ATTEMPT", "CREATE_SESSION_ATTEMPT", "unknown"),
    ("SESSION_CREATED", "CREATE_SESSION", "success"),
    ("SESSION_TERMINATED", "USER_SESSION_DELETED", "success"),
    ("SESSION_REFRESH", "REFRESH_SESSION", "success"),
    ("SESSION_EXPIRED", "USER_SESSION_DELETED", "success"),
    ("SESSION_RESTORED", "RESTORE_SESSION", "success"),
    ("PASSWORD_CHANGE_REQUESTED", "REQUEST_RESET_PASSWORD", "success"),
    ("PASSWORD_CHANGE_SUCCESSFULL", "UPDATE_PASSWORD", "success"),
    ("PASSWORD_CHANGE_FAILED", "UPDATE_PASSWORD_ERROR", "failure"),
    ("PASSWORD_CHANGE_EMAIL_SENT", "SEND_RESET_PASSWORD", "success"),
    ("PASSWORD_EXPIRATION_WARNING", "PASSWORD_EXPIRATION_WARNING", "unknown"),
    ("PASSWORD_EXPIRED", "PASSWORD_EXPIRED", "unknown"),
    ("PASSWORD_REUSE_ATTEMPT", "UPDATE_PASSWORD_ERROR", "failure"),
    ("PASSWORD_POLICY_VIOLATION", "UPDATE_PASSWORD_ERROR", "failure"),
]

#: Types that public detection rules for Okta name (Elastic, Sigma, Splunk, Panther, Chronicle, SEKOIA, Okta's own).
OKTA_RULE_TYPES = """
    app.access_request.approver.approve app.access_request.approver.deny app.access_request.deny
    app.access_request.expire app.access_request.grant app.access_request.request
    app.generic.unauth_app_access_attempt app.inbound_del_auth.login_success app.keys.clone app.keys.generate
    app.keys.rotate app.ldap.password.change.failed app.oauth2.admin.consent.grant
    app.oauth2.admin.consent.revoke app.oauth2.as.authorize app.oauth2.as.consent.grant
    app.oauth2.as.consent.revoke app.oauth2.as.consent.revoke.user app.oauth2.as.token.detect_reuse
    app.oauth2.as.token.grant app.oauth2.as.token.grant.access_token app.oauth2.authorize.code
    app.oauth2.client_id_rate_limit_warning app.oauth2.signon app.oauth2.token.detect_reuse
    app.oauth2.token.grant.access_token application.integration.rate_limit_exceeded
    application.lifecycle.activate application.lifecycle.create application.lifecycle.deactivate
    application.lifecycle.delete application.lifecycle.update application.policy.sign_on.rule.delete
    application.policy.sign_on.update application.user_membership.change_username
    application.user_membership.show_password core.concurrency.org.limit.violation credential.register
    credential.revoke device.enrollment.create group.privilege.grant iam.resourceset.bindings.add
    network_zone.rule.disabled policy.evaluate_sign_on policy.lifecycle.deactivate policy.lifecycle.delete
    policy.lifecycle.update policy.rule.deactivate policy.rule.delete policy.rule.update security.attack.start
    security.threat.detected system.agent.ad.config_change_detected system.api_token.create
    system.api_token.revoke system.email.account_unlock.sent_message
    system.email.mfa_enroll_notification.sent_message system.email.new_device_notification.sent_message
    system.email.password_reset.sent_message system.idp.lifecycle.activate system.idp.lifecycle.create
    system.idp.lifecycle.deactivate system.idp.lifecycle.delete system.mfa.factor.deactivate
    system.operation.rate_limit.violation system.org.rate_limit.violation system.org.rate_limit.warning
    system.push.send_factor_verify_push system.sms.send_account_unlock_message
    system.sms.send_password_reset_message system.voice.send_account_unlock_call
    system.voice.send_password_reset_call user.account.lock user.account.lock.limit user.account.privilege.grant
    user.account.report_suspicious_activity_by_enduser user.account.reset_password user.account.unlock_token
    user.account.update_password user.authentication.auth_via_AD_agent user.authentication.auth_via_IDP
    user.authentication.auth_via_inbound_SAML user.authentication.auth_via_mfa
    user.authentication.auth_via_social user.authentication.sso user.authentication.verify
    user.lifecycle.activate user.lifecycle.create user.mfa.attempt_bypass user.mfa.factor.activate
    user.mfa.factor.deactivate user.mfa.factor.reset_all user.mfa.factor.suspend user.mfa.factor.unsuspend
    user.mfa.factor.update user.mfa.okta_verify.deny_push user.risk.detect user.session.clear user.session.end
    user.session.expire user.session.impersonation.end user.session.impersonation.grant
    user.session.impersonation.initiate user.session.impersonation.revoke user.session.start zone.deactivate
    zone.delete zone.remove_blacklist zone.update
""".split()
